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

#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Room for one file descriptor beside a message of one byte. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int send_descriptor(int socket, int fd)
{
    union control control = {0};
    struct iovec data = {.iov_base = "", .iov_len = 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int terminal_receive(int socket)
{
    union control control = {0};
    char text[256]; /* runtimes send the terminal's name along */
    struct iovec data = {.iov_base = text, .iov_len = sizeof(text)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    int fd;

    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0)
        return -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header || header->cmsg_level != SOL_SOCKET ||
        header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(sizeof(int))) {
        errno = EPROTO;
        return -1;
    }
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

int terminal_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    if (listener >= 0 &&
        (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
         listen(listener, 1) < 0)) {
        int error = errno;
        close(listener);
        errno = error;
        return -1;
    }
    return listener;
}

int terminal_accept(int listener)
{
    int flags = fcntl(listener, F_GETFL);

    /* Who was to leave it has ended by now. */
    fcntl(listener, F_SETFL, flags | O_NONBLOCK);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer < 0)
        return -1;
    int terminal = terminal_receive(peer);
    int error = errno;
    close(peer);
    errno = error;
    return terminal;
}

static int failed(char *step, size_t size, const char *what)
{
    int error = errno;

    snprintf(step, size, "%s", what);
    errno = error;
    return -1;
}

int terminal_take(int socket, uid_t uid, char *step, size_t size)
{
    int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int number, unlock = 0;
    char path[64];

    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
        ioctl(master, TIOCGPTN, &number) < 0)
        return failed(step, size, "make a terminal");
    int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0 || fchown(terminal, uid, (gid_t)-1) < 0)
        return failed(step, size, "open the terminal");
    snprintf(path, sizeof(path), "/dev/pts/%d", number);
    int console = open("/dev/console", O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
    if (console >= 0)
        close(console);
    if (mount(path, "/dev/console", NULL, MS_BIND, NULL) < 0)
        return failed(step, size, "mount /dev/console");
    if (ioctl(terminal, TIOCSCTTY, 0) < 0 || dup2(terminal, 0) < 0 ||
        dup2(terminal, 1) < 0 || dup2(terminal, 2) < 0)
        return failed(step, size, "take the terminal");
    if (send_descriptor(socket, master) < 0)
        return failed(step, size, "hand over the terminal");
    close(terminal);
    close(master);
    return 0;
}
