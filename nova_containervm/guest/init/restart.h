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

/* docker's restart policy. */
#ifndef CVM_RESTART_H
#define CVM_RESTART_H

#include <stdbool.h>

#include "contract.h"

struct restart_state {
    unsigned count;    /* restarts so far */
    unsigned delay_ms; /* before the next one */
};

/*
 * Whether a container that ended with CODE after RAN_MS is to be started
 * again; if so, STATE has the delay before it and counts it.
 */
bool restart_wanted(struct restart_state *state, enum restart policy,
                    unsigned max, int code, long long ran_ms);

#endif
