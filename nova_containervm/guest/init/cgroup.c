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

#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "text.h"

#define ROOT "/sys/fs/cgroup"
#define PARENT ROOT "/containervm"
#define GROUP PARENT "/container"

#define ANY_MINOR UINT32_MAX

/* What runtimes let every container open (opencontainers/runtime-spec,
 * config-linux.md, and docker's list). */
static const struct {
    uint32_t major;
    uint32_t minor;
} allowed[] = {
    {1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, /* null zero full random urandom */
    {5, 0}, {5, 1}, {5, 2}, {136, ANY_MINOR}, /* tty console ptmx pts */
};
#define ALLOWED (sizeof(allowed) / sizeof(allowed[0]))

static struct bpf_insn instruction(uint8_t code, uint8_t to, uint8_t from,
                                   int16_t offset, int32_t value)
{
    return (struct bpf_insn){.code = code, .dst_reg = to, .src_reg = from,
                             .off = offset, .imm = value};
}

/* Jump over OFFSET instructions if register REGISTER is (or is not) VALUE. */
static struct bpf_insn jump(uint8_t condition, uint8_t reg, uint32_t value,
                            size_t offset)
{
    return instruction(BPF_JMP | condition | BPF_K, reg, 0, (int16_t)offset,
                       (int32_t)value);
}

/*
 * "Yes" to making a node of any kind, as docker, and to opening character
 * devices of the table. Registers: 2 the access, 3 the type, 4 and 5 the
 * device's numbers.
 */
static size_t write_filter(struct bpf_insn *at)
{
    enum { LOAD = BPF_LDX | BPF_MEM | BPF_W, MOVE = BPF_ALU64 | BPF_MOV };
    const size_t length = 8 + 3 * ALLOWED + 4;
    size_t n = 0;

    at[n++] = instruction(LOAD, 2, 1, 0, 0); /* access << 16 | type */
    at[n++] = instruction(MOVE | BPF_X, 3, 2, 0, 0);
    at[n++] = instruction(BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, 0xffff);
    at[n++] = instruction(BPF_ALU64 | BPF_RSH | BPF_K, 2, 0, 0, 16);
    at[n++] = instruction(
        LOAD, 4, 1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
    at[n++] = instruction(
        LOAD, 5, 1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
    /* The last four are: no, exit, yes, exit. */
    at[n] = jump(BPF_JEQ, 2, BPF_DEVCG_ACC_MKNOD, length - 2 - n - 1);
    n++;
    at[n] = jump(BPF_JNE, 3, BPF_DEVCG_DEV_CHAR, length - 4 - n - 1);
    n++;
    for (size_t i = 0; i < ALLOWED; i++) {
        bool any = allowed[i].minor == ANY_MINOR;
        at[n++] = jump(BPF_JNE, 4, allowed[i].major, 2);
        at[n++] = jump(BPF_JNE, 5, any ? 0 : allowed[i].minor, any ? 0 : 1);
        at[n] = instruction(BPF_JMP | BPF_JA, 0, 0,
                            (int16_t)(length - 2 - n - 1), 0);
        n++;
    }
    at[n++] = instruction(MOVE | BPF_K, 0, 0, 0, 0);
    at[n++] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    at[n++] = instruction(MOVE | BPF_K, 0, 0, 0, 1);
    at[n++] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    return n;
}

static int attach_filter(int group)
{
    struct bpf_insn instructions[8 + 3 * ALLOWED + 4];
    union bpf_attr load, attach;

    memset(&load, 0, sizeof(load));
    memset(&attach, 0, sizeof(attach));
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (uintptr_t)instructions;
    load.insn_cnt = (uint32_t)write_filter(instructions);
    load.license = (uintptr_t) "Apache-2.0";
    int filter = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
    if (filter < 0)
        return -1;
    attach.target_fd = (uint32_t)group;
    attach.attach_bpf_fd = (uint32_t)filter;
    attach.attach_type = BPF_CGROUP_DEVICE;
    int result =
        (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach));
    int error = errno;
    close(filter);
    errno = error;
    return result;
}

/* What the kernel has of these a container sees in its group. */
static void enable_controllers(const char *file)
{
    static const char *const names[] = {"+cpuset", "+cpu", "+io", "+memory",
                                        "+hugetlb", "+pids"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        text_write_file(file, names[i]);
}

int cgroup_open(bool open_devices)
{
    bool made = mkdir(PARENT, 0755) == 0;

    if (!made && errno != EEXIST)
        return -1;
    if (made) {
        enable_controllers(ROOT "/cgroup.subtree_control");
        enable_controllers(PARENT "/cgroup.subtree_control");
    }
    made = mkdir(GROUP, 0755) == 0;
    if (!made && errno != EEXIST)
        return -1;
    int group = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group >= 0 && made && !open_devices && attach_filter(group) < 0) {
        int error = errno;
        close(group);
        rmdir(GROUP);
        errno = error;
        return -1;
    }
    return group;
}

int cgroup_enter(void)
{
    return text_write_file(GROUP "/cgroup.procs", "0");
}
