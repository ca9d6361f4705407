/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

#include "runtime.h"

#include <signal.h>
#include <string.h>

int runtime_start(const struct contract *contract, int output,
                  struct started *started)
{
    *started = (struct started){.terminal = -1};
    if (contract->runtime == RUNTIME_CHROOT)
        return runtime_chroot_start(contract, output, started);
    return runtime_oci_start(contract, output, started);
}

int runtime_check_start(const struct contract *contract, pid_t container,
                        int output, struct started *started)
{
    *started = (struct started){.terminal = -1};
    if (contract->runtime == RUNTIME_CHROOT)
        return runtime_chroot_check_start(contract, container, output,
                                          started);
    return runtime_oci_check_start(contract, output, started);
}

bool runtime_check_kill(const struct contract *contract, pid_t pid,
                        bool force)
{
    if (contract->runtime != RUNTIME_CHROOT)
        return runtime_oci_check_kill(pid, force);
    kill(pid, SIGKILL);
    return true;
}

void runtime_cleanup(const struct contract *contract)
{
    if (contract->runtime != RUNTIME_CHROOT)
        runtime_oci_cleanup(contract);
}
