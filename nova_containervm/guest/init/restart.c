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

#include "restart.h"

/* The values of moby's restart manager. */
#define FIRST_DELAY_MS 100
#define MAX_DELAY_MS 60000
#define GOOD_RUN_MS 10000

bool restart_wanted(struct restart_state *state, enum restart policy,
                    unsigned max, int code, long long ran_ms)
{
    if (policy == RESTART_NO)
        return false;
    if (policy == RESTART_ON_FAILURE &&
        (code == 0 || (max && state->count >= max)))
        return false;
    if (ran_ms >= GOOD_RUN_MS || state->delay_ms == 0)
        state->delay_ms = FIRST_DELAY_MS;
    else if (state->delay_ms < MAX_DELAY_MS / 2)
        state->delay_ms *= 2;
    else
        state->delay_ms = MAX_DELAY_MS;
    state->count++;
    return true;
}
