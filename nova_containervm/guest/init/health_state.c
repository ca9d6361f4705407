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

#include "health_state.h"

const char *health_status_name(enum health_status status)
{
    static const char *const names[] = {"starting", "healthy", "unhealthy"};

    return names[status];
}

bool health_state_update(struct health_state *state,
                         const struct health *health, bool good,
                         long long began_ms)
{
    enum health_status before = state->status;

    if (good) {
        state->failures = 0;
        state->status = HEALTH_HEALTHY;
    } else if (before != HEALTH_STARTING ||
               began_ms >= health->start_period_ms) {
        if (++state->failures >= health->retries)
            state->status = HEALTH_UNHEALTHY;
    }
    return state->status != before;
}

unsigned health_state_interval(const struct health_state *state,
                               const struct health *health,
                               long long since_ms)
{
    return state->status == HEALTH_STARTING &&
                   since_ms < health->start_period_ms
               ? health->start_interval_ms
               : health->interval_ms;
}
