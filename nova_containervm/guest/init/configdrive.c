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

#include "configdrive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev.h"
#include "paths.h"
#include "report.h"
#include "text.h"

#define STAGE "contract"
#define MOUNT_POINT RUN_DIR "/configdrive"
#define WAIT_MS 10000
#define MAX_FILE (4 << 20)

/* The JSON files are for runtimes that read it; chroot does without. */
static void copy_spec(const char *directory, const char *name)
{
    char path[128];
    size_t length;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    char *spec = text_read_whole(path, MAX_FILE, &length);
    if (!spec)
        fail_errno(STAGE, "%s", path);
    snprintf(path, sizeof(path), BUNDLE_DIR "/%s", name);
    if (text_create_file(path, spec, length, 0600) < 0)
        fail_errno(STAGE, "%s", path);
    free(spec);
}

void configdrive_contract(struct contract *contract, const char *directory)
{
    static struct env env; /* the contract points into it for good */
    char path[128], error[300];
    size_t length;
    char *text;

    snprintf(path, sizeof(path), "%s/guest.env", directory);
    text = text_read_whole(path, MAX_FILE, &length);
    if (!text)
        fail_errno(STAGE, "%s", path);
    if (env_parse(&env, text, length, error, sizeof(error)) < 0 ||
        contract_read(contract, &env, error, sizeof(error)) < 0)
        fail(STAGE, "containervm/guest.env: %s", error);
    if (contract->runtime != RUNTIME_CHROOT)
        copy_spec(directory, "config.json");
    if (contract->runtime != RUNTIME_CHROOT && contract->health.command[0])
        copy_spec(directory, "health.json");
}

void configdrive_read(struct contract *contract)
{
    char device[64];

    if (blockdev_by_iso_label("config-2", WAIT_MS, device, sizeof(device)) <
        0)
        fail(STAGE, "no config drive: no disk has an ISO 9660 file system "
                    "labelled config-2");
    if (mkdir(MOUNT_POINT, 0700) < 0 && errno != EEXIST)
        fail_errno(STAGE, "%s", MOUNT_POINT);
    if (mount(device, MOUNT_POINT, "iso9660",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        fail_errno(STAGE, "cannot mount the config drive %s", device);
    configdrive_contract(contract, MOUNT_POINT "/containervm");
    if (umount2(MOUNT_POINT, 0) < 0)
        fail_errno(STAGE, "cannot unmount the config drive");
    rmdir(MOUNT_POINT);
}
