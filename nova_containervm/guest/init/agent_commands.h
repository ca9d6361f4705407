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

/* The commands of the guest agent; see agent.h. */
#ifndef CVM_AGENT_COMMANDS_H
#define CVM_AGENT_COMMANDS_H

/* An answer that says what went wrong; both are literals. */
#define AGENT_ERROR(kind, text)                                              \
    "{\"error\": {\"class\": \"" kind "\", \"desc\": \"" text "\"}}\n"

/* How long to wait for a request before a tick, in ms; -1: without end. */
int agent_commands_timeout(void);

/* What is due by itself. */
void agent_commands_tick(void);

#endif
