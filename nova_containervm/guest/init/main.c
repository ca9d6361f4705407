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
 * PID 1 of a container VM: makes of a contract on the config drive a running
 * container, and ends the VM with it.
 *
 * Order of the stages: what is needed to report a failure comes first; then
 * what needs the contract; the network before the root file system, so that
 * DHCP servers think while disks are mounted; the program last, when no part
 * of the boot can fail any more.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "bootable.h"
#include "channel.h"
#include "configdrive.h"
#include "console.h"
#include "contract.h"
#include "etcfiles.h"
#include "export.h"
#include "miniinit.h"
#include "modules.h"
#include "network.h"
#include "paths.h"
#include "power.h"
#include "process.h"
#include "report.h"
#include "rootfs.h"
#include "supervise.h"
#include "swap.h"
#include "text.h"
#include "tidy.h"
#include "volumes.h"

#define STAGE "init"
#define CLOCK_SOURCES                                                        \
    "/sys/devices/system/clocksource/clocksource0/available_clocksource"
#define EXPORT "containervm.export="
#define BOOTABLE "containervm.bootable"

static const struct {
    const char *type;
    const char *target;
    unsigned long flags;
    const char *data;
} early_mounts[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
};

/*
 * The initramfs is the kernel's rootfs, and pivot_root() refuses to leave
 * that. A bind mount of it on itself is an ordinary mount, so that runtimes
 * can change root the proper way: nothing of ours stays reachable in the
 * container, and its own user namespaces work.
 */
static void become_ordinary_mount(void)
{
    if (mount("/", "/tmp", NULL, MS_BIND, NULL) < 0 || chdir("/tmp") < 0 ||
        mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        fail_errno(STAGE, "cannot bind the initramfs");
}

static void mount_all(void)
{
    static const char *const directories[] = {RUN_DIR, BUNDLE_DIR, ETC_DIR};
    /* A privileged container sees this /dev, and expects docker's names. */
    static const char *const links[][2] = {
        {"/dev/fd", "/proc/self/fd"},
        {"/dev/stdin", "/proc/self/fd/0"},
        {"/dev/stdout", "/proc/self/fd/1"},
        {"/dev/stderr", "/proc/self/fd/2"},
        {"/dev/core", "/proc/kcore"},
    };

    for (size_t i = 0; i < sizeof(early_mounts) / sizeof(early_mounts[0]);
         i++)
        if (mount(early_mounts[i].type, early_mounts[i].target,
                  early_mounts[i].type, early_mounts[i].flags,
                  early_mounts[i].data) < 0 &&
            errno != EBUSY)
            fail_errno(STAGE, "cannot mount %s", early_mounts[i].target);
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
        if (mkdir(directories[i], 0755) < 0 && errno != EEXIST)
            fail_errno(STAGE, "%s", directories[i]);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
        if (symlink(links[i][1], links[i][0]) < 0 && errno != EEXIST)
            fail_errno(STAGE, "%s", links[i][0]);
}

/* What the kernel command line asks for: BOOTABLE, and as the result the
 * value of containervm.export, NULL if it is not there. */
static const char *read_command_line(bool *bootable)
{
    static char text[4096];
    char *export;

    if (text_read_file("/proc/cmdline", text, sizeof(text)) <= 0)
        return NULL;
    report_debug = strstr(text, "containervm.debug") != NULL;
    *bootable = strstr(text, BOOTABLE) != NULL;
    export = strstr(text, EXPORT);
    if (!export)
        return NULL;
    export += strlen(EXPORT);
    export[strcspn(export, " \n")] = '\0';
    return export;
}

/* The host's clock is a device only where KVM is. */
static bool is_on_kvm(void)
{
    char text[256];

    return text_read_line(CLOCK_SOURCES, text, sizeof(text)) == 0 &&
           strstr(text, "kvm-clock");
}

static struct network_result network;

static void after_start(void)
{
    agent_start();
    tidy(network.dhcp);
}

int main(int argc, char **argv)
{
    static struct contract contract;
    bool bootable = false;
    const char *export;
    int signal_fd;
    const char *slash = strrchr(argv[0], '/');

    /* Bound into a container that wants an init (docker run --init). */
    if (strcmp(slash ? slash + 1 : argv[0], "docker-init") == 0)
        return miniinit_main(argc, argv);

    report_catch_crashes();
    umask(0022);
    become_ordinary_mount();
    mount_all();
    console_open();
    export = read_command_line(&bootable);
    /* Ctrl-Alt-Del becomes a SIGINT to us instead of a reset. */
    reboot(RB_DISABLE_CAD);
    signal_fd = process_signals();
    if (signal_fd < 0)
        fail_errno(STAGE, "signalfd");

    modules_load("early");
    if (export)
        export_run(export);
    power_button_open();
    if (bootable)
        bootable_read(&contract);
    else
        configdrive_read(&contract);
    if (contract.channel[0] && channel_open(contract.channel) < 0)
        warn("channel", "the machine has no port %s", contract.channel);
    channel_booted();

    /* Also without an interface: one may be attached, and from modules_finish()
     * on there is no module for it any more. */
    modules_load("net");
    network_up(&contract, &network);
    etcfiles_write(&contract, &network);
    rootfs_mount(&contract);
    if (contract.swap)
        swap_on();
    volumes_mount(&contract);
    network_sysctls(&contract);
    modules_load("late");
    if (is_on_kvm())
        modules_load("kvm");
    modules_finish();

    supervise(&contract, signal_fd, after_start);
    power_off();
}
