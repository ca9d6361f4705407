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

#include "swap.h"

#include <errno.h>
#include <string.h>
#include <sys/swap.h>

#include "blockdev.h"
#include "report.h"

#define STAGE "swap"

/* The disk's; the host gives it. A volume has its id in that place. */
#define SERIAL "swap"
#define WAIT_MS 2000

void swap_on(void)
{
    char device[64];

    if (blockdev_by_serial(SERIAL, WAIT_MS, device, sizeof(device)) < 0)
        warn(STAGE, "there is no such disk");
    /* What is freed there is not the host's to keep. */
    else if (swapon(device, SWAP_FLAG_DISCARD) < 0)
        warn(STAGE, "%s: %s", device, strerror(errno));
    else
        debug("swap is %s", device);
}
