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
 * The virtio-serial port of export mode. Frames to the host: one letter, four
 * bytes of length, content; numbers are big-endian.
 *
 *   R  the version: ready for a contract
 *   S  eight bytes: the length of the layer
 *   D  a part of it
 *   E  what went wrong
 *   F  nothing: the layer is complete
 *
 * From the host: four bytes of length and the contract, in the form of
 * guest.env; then one byte for each of the frames D, E and F, so that no more
 * is under way than a little.
 */
#ifndef CVM_EXPORTCHANNEL_H
#define CVM_EXPORTCHANNEL_H

#include <stddef.h>
#include <stdint.h>

/* From now on fail() tells the host. */
void exportchannel_open(void);

/* The contract, NUL-terminated, for free(). */
char *exportchannel_request(size_t *length);

void exportchannel_size(uint64_t size);

/* A tar_sink. Fails itself: 0 always. */
int exportchannel_data(void *context, const void *data, size_t length);

/* Wait until the host has all of it. */
void exportchannel_end(void);

#endif
