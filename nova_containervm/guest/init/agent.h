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

/*
 * A guest agent: the part of QEMU's guest agent protocol
 * (docs/interop/qemu-ga-ref of QEMU) by which libvirt freezes file systems,
 * sets the clock and shuts the VM down.
 */
#ifndef CVM_AGENT_H
#define CVM_AGENT_H

#include <stddef.h>

/* Start it in a process of its own, if the machine has its port. */
void agent_start(void);

/* What the agent answers to one request, a line of JSON without its end. */
void agent_answer(const char *request, size_t length, char *answer,
                  size_t size);

#endif
