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

/* The way out, and the power button that asks for it. */
#ifndef CVM_POWER_H
#define CVM_POWER_H

#include <stdbool.h>

/* Open the ACPI power button; presses are kept from then on. */
void power_button_open(void);

/* File descriptor to poll for input, or -1. */
int power_button_fd(void);

/* Read what has come in; true if a press was among it. */
bool power_button_pressed(void);

/* Flush, unmount, power off. Never returns. */
void power_off(void) __attribute__((noreturn));

#endif
