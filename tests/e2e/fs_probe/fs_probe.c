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
 * 52 kinds of what programs do to a file system, each told as "name=ok" or
 * "name=what went wrong". Works in a new directory below argv[1], and on the
 * image's own files in argv[2]: a directory with "file" ("image\n", 0644),
 * "dir/inner" and "large" (a MiB of 'x'). Run as root.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *image;

/* A check returns NULL, or what was wrong. */
#define NEED(condition)                                                      \
    do {                                                                     \
        errno = 0;                                                           \
        if (!(condition)) {                                                  \
            static char text[200];                                           \
            snprintf(text, sizeof(text), "%s: %s", #condition,               \
                     errno ? strerrorname_np(errno) : "no");                 \
            return text;                                                     \
        }                                                                    \
    } while (0)

static int make(const char *name, const char *text)
{
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);

    if (fd >= 0 && write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool holds(const char *name, const char *text)
{
    char buffer[4096];
    int fd = open(name, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, buffer, sizeof(buffer));

    if (fd >= 0)
        close(fd);
    return got == (ssize_t)strlen(text) &&
           memcmp(buffer, text, (size_t)got) == 0;
}

static struct stat status(const char *name)
{
    struct stat info = {0};

    lstat(name, &info);
    return info;
}

/* Run CALL in a child; its exit status. */
#define CHILD(call)                                                          \
    ({                                                                       \
        pid_t pid_ = fork();                                                 \
        if (pid_ == 0)                                                       \
            _exit(call);                                                     \
        int status_ = -1;                                                    \
        waitpid(pid_, &status_, 0);                                          \
        WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;                      \
    })

/* ------------------------------------------------------------------ content */

static const char *write_and_read(void)
{
    NEED(make("f", "hello") >= 0);
    NEED(holds("f", "hello"));
    return NULL;
}

static const char *append(void)
{
    int a, b;

    NEED((a = make("f", "")) >= 0);
    NEED((a = open("f", O_WRONLY | O_APPEND)) >= 0);
    NEED((b = open("f", O_WRONLY | O_APPEND)) >= 0);
    NEED(write(a, "1", 1) == 1 && write(b, "2", 1) == 1 &&
         write(a, "3", 1) == 1);
    NEED(holds("f", "123"));
    return NULL;
}

static const char *overwrite(void)
{
    int fd;

    NEED((fd = make("f", "abcdef")) >= 0);
    NEED(pwrite(fd, "XY", 2, 2) == 2);
    NEED(holds("f", "abXYef"));
    return NULL;
}

static const char *truncate_file(void)
{
    NEED(make("f", "abcdef") >= 0);
    NEED(truncate("f", 3) == 0 && holds("f", "abc"));
    NEED(truncate("f", 5) == 0 && status("f").st_size == 5);
    return NULL;
}

static const char *sparse(void)
{
    int fd;

    NEED((fd = make("f", "")) >= 0);
    NEED(pwrite(fd, "end", 3, 64 << 20) == 3);
    NEED(status("f").st_blocks < 2048);
    NEED(lseek(fd, 0, SEEK_DATA) > 0);
    return NULL;
}

static const char *preallocate(void)
{
    int fd;

    NEED((fd = make("f", "")) >= 0);
    NEED(fallocate(fd, 0, 0, 1 << 20) == 0);
    NEED(status("f").st_size == 1 << 20);
    return NULL;
}

static const char *punch_hole(void)
{
    static char block[65536];
    char got;
    int fd;

    memset(block, 'x', sizeof(block));
    NEED((fd = make("f", "")) >= 0);
    NEED(write(fd, block, sizeof(block)) == sizeof(block));
    NEED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192,
                   8192) == 0);
    NEED(pread(fd, &got, 1, 9000) == 1 && got == '\0');
    return NULL;
}

static const char *copy_range(void)
{
    int from, to;
    off_t start = 0;

    NEED((from = make("f", "copied")) >= 0 && (to = make("g", "")) >= 0);
    NEED(copy_file_range(from, &start, to, NULL, 6, 0) == 6);
    NEED(holds("g", "copied"));
    return NULL;
}

static const char *direct(void)
{
    void *block;
    int fd;

    NEED(posix_memalign(&block, 4096, 4096) == 0);
    memset(block, 'd', 4096);
    NEED((fd = open("f", O_RDWR | O_CREAT | O_DIRECT, 0644)) >= 0);
    NEED(pwrite(fd, block, 4096, 0) == 4096);
    NEED(pread(fd, block, 4096, 0) == 4096);
    return NULL;
}

static const char *synchronous(void)
{
    int fd, dir;

    NEED((fd = open("f", O_RDWR | O_CREAT | O_SYNC, 0644)) >= 0);
    NEED(write(fd, "x", 1) == 1 && fsync(fd) == 0 && fdatasync(fd) == 0);
    NEED((dir = open(".", O_RDONLY | O_DIRECTORY)) >= 0 && fsync(dir) == 0);
    return NULL;
}

/* ------------------------------------------------------------------ mapping */

static const char *map_shared(void)
{
    char *map;
    int fd;

    NEED((fd = make("f", "abcdef")) >= 0);
    NEED((map = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) !=
         MAP_FAILED);
    map[0] = 'X';
    NEED(holds("f", "Xbcdef"));
    NEED(pwrite(fd, "Y", 1, 1) == 1 && map[1] == 'Y');
    NEED(msync(map, 6, MS_SYNC) == 0);
    return NULL;
}

static const char *map_between_processes(void)
{
    char *map;
    int fd;

    NEED((fd = make("f", "0")) >= 0);
    NEED((map = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) !=
         MAP_FAILED);
    NEED(CHILD(({
        int own = open("f", O_RDWR);
        char *mine = mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, own,
                          0);
        *mine = '1';
        0;
    })) == 0);
    NEED(map[0] == '1');
    return NULL;
}

static const char *execute(void)
{
    int fd;

    /* A script needs no room for a program of its own. */
    NEED((fd = make("f", "#!/proc/self/exe\n")) >= 0);
    NEED(fchmod(fd, 0755) == 0 && close(fd) == 0);
    NEED(access("f", X_OK) == 0);
    NEED(CHILD(({
        execl("./f", "f", "--exit-0", NULL);
        1;
    })) == 0);
    return NULL;
}

/* -------------------------------------------------------------------- names */

static const char *rename_file(void)
{
    NEED(make("f", "1") >= 0 && rename("f", "g") == 0);
    NEED(holds("g", "1") && access("f", F_OK) < 0);
    return NULL;
}

static const char *rename_over(void)
{
    int old;
    char got;

    NEED((old = make("g", "old")) >= 0 && make("f", "new") >= 0);
    NEED(rename("f", "g") == 0 && holds("g", "new"));
    NEED(pread(old, &got, 1, 0) == 1 && got == 'o');
    return NULL;
}

static const char *rename_directory(void)
{
    NEED(mkdir("d", 0755) == 0 && make("d/f", "1") >= 0);
    NEED(rename("d", "e") == 0 && holds("e/f", "1"));
    return NULL;
}

static const char *rename_image_directory(void)
{
    char from[500], to[500], inner[600];

    snprintf(from, sizeof(from), "%s/dir", image);
    snprintf(to, sizeof(to), "%s/renamed", image);
    snprintf(inner, sizeof(inner), "%s/inner", to);
    NEED(rename(from, to) == 0 && access(inner, F_OK) == 0);
    NEED(rename(to, from) == 0);
    return NULL;
}

static const char *rename_noreplace(void)
{
    NEED(make("f", "1") >= 0 && make("g", "2") >= 0);
    NEED(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_NOREPLACE) < 0 &&
         errno == EEXIST);
    NEED(renameat2(AT_FDCWD, "f", AT_FDCWD, "h", RENAME_NOREPLACE) == 0);
    return NULL;
}

static const char *rename_exchange(void)
{
    NEED(make("f", "1") >= 0 && make("g", "2") >= 0);
    NEED(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_EXCHANGE) == 0);
    NEED(holds("f", "2") && holds("g", "1"));
    return NULL;
}

static const char *hard_link(void)
{
    int fd;

    NEED((fd = make("f", "1")) >= 0 && link("f", "g") == 0);
    NEED(status("f").st_nlink == 2 &&
         status("f").st_ino == status("g").st_ino);
    NEED(pwrite(fd, "2", 1, 0) == 1 && holds("g", "2"));
    return NULL;
}

static const char *hard_link_of_the_image(void)
{
    char path[500];

    snprintf(path, sizeof(path), "%s/file", image);
    NEED(link(path, "linked") == 0 && holds("linked", "image\n"));
    NEED(unlink("linked") == 0);
    return NULL;
}

static const char *symbolic_link(void)
{
    char target[200];

    NEED(make("f", "1") >= 0 && symlink("f", "s") == 0 && holds("s", "1"));
    NEED(readlink("s", target, sizeof(target)) == 1 && target[0] == 'f');
    NEED(symlink("/no/such", "dangling") == 0 && access("dangling", F_OK) < 0);
    return NULL;
}

static const char *long_names(void)
{
    char name[256], target[4000];

    memset(name, 'n', 255);
    name[255] = '\0';
    NEED(make(name, "1") >= 0 && holds(name, "1"));
    memset(target, 't', sizeof(target));
    target[sizeof(target) - 1] = '\0';
    NEED(symlink(target, "s") == 0);
    NEED(readlink("s", target, sizeof(target)) == sizeof(target) - 1);
    return NULL;
}

static const char *odd_names(void)
{
    NEED(make("new\nline \xff\\:*?", "1") >= 0 &&
         holds("new\nline \xff\\:*?", "1"));
    NEED(make("Case", "1") >= 0 && make("case", "2") >= 0 &&
         holds("Case", "1"));
    return NULL;
}

static const char *many_files(void)
{
    char name[20];
    int count = 0;
    DIR *stream;

    NEED(mkdir("d", 0755) == 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "d/%d", i);
        int fd = make(name, "");
        NEED(fd >= 0);
        close(fd);
    }
    NEED((stream = opendir("d")));
    while (readdir(stream))
        count++;
    closedir(stream);
    NEED(count == 1002);
    return NULL;
}

static const char *remove_while_reading(void)
{
    char name[300];
    struct dirent *entry;
    DIR *stream;

    NEED(mkdir("d", 0755) == 0);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "d/%d", i);
        close(make(name, ""));
    }
    NEED((stream = opendir("d")));
    while ((entry = readdir(stream))) {
        snprintf(name, sizeof(name), "d/%s", entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(name);
    }
    closedir(stream);
    NEED(rmdir("d") == 0);
    return NULL;
}

static const char *remove_directory(void)
{
    NEED(mkdir("d", 0755) == 0 && make("d/f", "") >= 0);
    NEED(rmdir("d") < 0 && errno == ENOTEMPTY);
    NEED(unlink("d/f") == 0 && rmdir("d") == 0 && access("d", F_OK) < 0);
    return NULL;
}

static const char *remove_image_file(void)
{
    char path[500];
    int fd;

    snprintf(path, sizeof(path), "%s/file", image);
    NEED(unlink(path) == 0 && access(path, F_OK) < 0);
    NEED((fd = make(path, "image\n")) >= 0 && holds(path, "image\n"));
    return NULL;
}

static const char *exclusive(void)
{
    int made = 0;

    for (int i = 0; i < 20; i++)
        made += CHILD(open("lock", O_CREAT | O_EXCL | O_WRONLY, 0600) < 0)
                == 0;
    NEED(made == 1);
    return NULL;
}

/* ------------------------------------------------------------------- owners */

static const char *change_mode(void)
{
    NEED(make("f", "") >= 0 && chmod("f", 0751) == 0);
    NEED((status("f").st_mode & 07777) == 0751);
    NEED(chmod("f", 06755) == 0 && (status("f").st_mode & 07777) == 06755);
    return NULL;
}

static const char *change_owner(void)
{
    NEED(make("f", "") >= 0 && chown("f", 12345, 54321) == 0);
    NEED(status("f").st_uid == 12345 && status("f").st_gid == 54321);
    NEED(symlink("f", "s") == 0 && lchown("s", 1, 2) == 0);
    NEED(status("s").st_uid == 1 && status("f").st_uid == 12345);
    return NULL;
}

static const char *owner_takes_setuid_away(void)
{
    NEED(make("f", "") >= 0 && chmod("f", 04755) == 0);
    NEED(chown("f", 1000, 1000) == 0);
    NEED((status("f").st_mode & 07777) == 0755);
    return NULL;
}

static const char *rights_hold(void)
{
    int fd;

    NEED((fd = make("f", "secret")) >= 0 && fchmod(fd, 0600) == 0);
    NEED(CHILD(({
        int failed = setgid(1000) < 0 || setuid(1000) < 0;
        failed || open("f", O_RDONLY) >= 0 || errno != EACCES;
    })) == 0);
    return NULL;
}

static const char *inherit_group(void)
{
    NEED(mkdir("d", 0755) == 0 && chown("d", 0, 777) == 0 &&
         chmod("d", 02775) == 0);
    NEED(make("d/f", "") >= 0 && status("d/f").st_gid == 777);
    NEED(mkdir("d/e", 0755) == 0 && (status("d/e").st_mode & 02000));
    return NULL;
}

static const char *sticky(void)
{
    NEED(mkdir("d", 0755) == 0 && chmod("d", 01777) == 0);
    NEED(make("d/f", "") >= 0);
    NEED(CHILD(({
        int failed = setgid(1000) < 0 || setuid(1000) < 0;
        failed || unlink("d/f") == 0 || errno != EPERM;
    })) == 0);
    return NULL;
}

static const char *times(void)
{
    struct timespec wanted[2] = {{1000000000, 123456789},
                                 {1100000000, 987654321}};

    NEED(make("f", "") >= 0 && utimensat(AT_FDCWD, "f", wanted, 0) == 0);
    NEED(status("f").st_mtim.tv_sec == 1100000000);
    NEED(status("f").st_mtim.tv_nsec == 987654321);
    NEED(status("f").st_atim.tv_nsec == 123456789);
    return NULL;
}

static const char *attributes_of_the_user(void)
{
    char value[20], names[200];

    NEED(make("f", "") >= 0);
    NEED(setxattr("f", "user.name", "value", 5, 0) == 0);
    NEED(getxattr("f", "user.name", value, sizeof(value)) == 5);
    NEED(listxattr("f", names, sizeof(names)) >= 10);
    NEED(removexattr("f", "user.name") == 0);
    return NULL;
}

static const char *attributes_of_root(void)
{
    char value[20];

    NEED(make("f", "") >= 0);
    NEED(setxattr("f", "trusted.name", "value", 5, 0) == 0);
    NEED(getxattr("f", "trusted.name", value, sizeof(value)) == 5);
    return NULL;
}

static const char *capabilities(void)
{
    struct vfs_cap_data data = {
        .magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 1 << CAP_NET_RAW}}};
    char value[64];
    int fd;

    NEED((fd = make("f", "")) >= 0);
    NEED(fsetxattr(fd, "security.capability", &data, XATTR_CAPS_SZ_2, 0) ==
         0);
    NEED(fgetxattr(fd, "security.capability", value, sizeof(value)) ==
         XATTR_CAPS_SZ_2);
    return NULL;
}

static const char *access_list(void)
{
    /* user::rw-, user:1000:r--, group::r--, mask::r--, other::--- */
    static const unsigned char acl[] = {
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255,
        2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
        16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};

    NEED(make("f", "1") >= 0 && chmod("f", 0600) == 0);
    NEED(setxattr("f", "system.posix_acl_access", acl, sizeof(acl), 0) == 0);
    NEED(CHILD(({
        int failed = setgid(1000) < 0 || setuid(1000) < 0;
        failed || open("f", O_RDONLY) < 0;
    })) == 0);
    return NULL;
}

/* ------------------------------------------------------------ special files */

static const char *fifo(void)
{
    char got;
    int fd;

    NEED(mkfifo("p", 0600) == 0);
    NEED((fd = open("p", O_RDWR)) >= 0);
    NEED(write(fd, "1", 1) == 1 && read(fd, &got, 1) == 1 && got == '1');
    return NULL;
}

static const char *unix_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "u"};
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    int client = socket(AF_UNIX, SOCK_STREAM, 0);

    NEED(bind(server, (void *)&address, sizeof(address)) == 0);
    NEED(listen(server, 1) == 0 && S_ISSOCK(status("u").st_mode));
    NEED(connect(client, (void *)&address, sizeof(address)) == 0);
    return NULL;
}

static const char *device(void)
{
    char got;
    int fd;

    NEED(mknod("n", S_IFCHR | 0666, makedev(1, 5)) == 0);
    NEED(status("n").st_rdev == makedev(1, 5));
    NEED((fd = open("n", O_RDONLY)) >= 0);
    NEED(read(fd, &got, 1) == 1 && got == '\0');
    return NULL;
}

/* -------------------------------------------------------------------- locks */

static const char *lock_whole(void)
{
    int fd;

    NEED((fd = make("f", "")) >= 0 && flock(fd, LOCK_EX) == 0);
    NEED(CHILD(flock(open("f", O_RDWR), LOCK_EX | LOCK_NB) == 0 ||
               errno != EWOULDBLOCK) == 0);
    NEED(flock(fd, LOCK_UN) == 0);
    NEED(CHILD(flock(open("f", O_RDWR), LOCK_EX | LOCK_NB) < 0) == 0);
    return NULL;
}

static const char *lock_range(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
    struct flock other = {.l_type = F_WRLCK, .l_start = 30, .l_len = 10};
    int fd;

    NEED((fd = make("f", "")) >= 0 && fcntl(fd, F_SETLK, &lock) == 0);
    NEED(CHILD(fcntl(open("f", O_RDWR), F_SETLK, &lock) == 0) == 0);
    NEED(CHILD(fcntl(open("f", O_RDWR), F_SETLK, &other) < 0) == 0);
    return NULL;
}

static const char *lock_of_open_file(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_len = 10};
    int fd, other;

    NEED((fd = make("f", "")) >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0);
    NEED((other = open("f", O_RDWR)) >= 0);
    NEED(fcntl(other, F_OFD_SETLK, &lock) < 0 && errno == EAGAIN);
    return NULL;
}

/* -------------------------------------------------- files without a name */

static const char *unlinked_content(void)
{
    char got[4];
    int fd;

    NEED((fd = make("f", "old")) >= 0 && unlink("f") == 0);
    NEED(pwrite(fd, "NEW", 3, 0) == 3 && pread(fd, got, 3, 0) == 3 &&
         memcmp(got, "NEW", 3) == 0);
    return NULL;
}

static const char *unlinked_metadata(void)
{
    struct timespec when[2] = {{1, 0}, {2, 0}};
    struct stat info;
    int fd;

    NEED((fd = make("f", "old")) >= 0 && unlink("f") == 0);
    NEED(fstat(fd, &info) == 0 && info.st_nlink == 0);
    NEED(ftruncate(fd, 1) == 0 && fchmod(fd, 0600) == 0 &&
         fchown(fd, 1, 1) == 0 && futimens(fd, when) == 0);
    return NULL;
}

static const char *unlinked_reopened(void)
{
    char path[64], got;
    int fd, again;

    NEED((fd = make("f", "old")) >= 0 && unlink("f") == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    NEED((again = open(path, O_RDONLY)) >= 0);
    NEED(read(again, &got, 1) == 1 && got == 'o');
    return NULL;
}

static const char *temporary(void)
{
    char path[64];
    int fd;

    NEED((fd = open(".", O_TMPFILE | O_RDWR, 0644)) >= 0);
    NEED(write(fd, "1", 1) == 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    NEED(linkat(AT_FDCWD, path, AT_FDCWD, "g", AT_SYMLINK_FOLLOW) == 0);
    NEED(holds("g", "1"));
    return NULL;
}

/* ------------------------------------------------------------------- others */

static const char *watch(void)
{
    char events[4096];
    int fd = inotify_init1(IN_NONBLOCK);
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    NEED(inotify_add_watch(fd, ".", IN_CREATE | IN_DELETE) >= 0);
    NEED(make("f", "") >= 0);
    NEED(poll(&poller, 1, 2000) == 1 && read(fd, events, 4096) > 0);
    return NULL;
}

static const char *change_of_an_image_file(void)
{
    char path[500];
    int fd;

    snprintf(path, sizeof(path), "%s/large", image);
    NEED((fd = open(path, O_RDWR)) >= 0);
    NEED(pwrite(fd, "Y", 1, 1 << 19) == 1 && fsync(fd) == 0);
    char got[2];
    NEED(pread(fd, got, 2, 1 << 19) == 2 && got[0] == 'Y' && got[1] == 'x');
    NEED(status(path).st_size == 1 << 20);
    return NULL;
}

#define CHECK(name) {#name, name}
static const struct {
    const char *name;
    const char *(*run)(void);
} checks[] = {
    CHECK(write_and_read), CHECK(append), CHECK(overwrite),
    CHECK(truncate_file), CHECK(sparse), CHECK(preallocate),
    CHECK(punch_hole), CHECK(copy_range), CHECK(direct), CHECK(synchronous),
    CHECK(map_shared), CHECK(map_between_processes), CHECK(execute),
    CHECK(rename_file), CHECK(rename_over), CHECK(rename_directory),
    CHECK(rename_image_directory), CHECK(rename_noreplace),
    CHECK(rename_exchange), CHECK(hard_link), CHECK(hard_link_of_the_image),
    CHECK(symbolic_link), CHECK(long_names), CHECK(odd_names),
    CHECK(many_files), CHECK(remove_while_reading), CHECK(remove_directory),
    CHECK(remove_image_file), CHECK(exclusive), CHECK(change_mode),
    CHECK(change_owner), CHECK(owner_takes_setuid_away), CHECK(rights_hold),
    CHECK(inherit_group), CHECK(sticky), CHECK(times),
    CHECK(attributes_of_the_user), CHECK(attributes_of_root),
    CHECK(capabilities), CHECK(access_list), CHECK(fifo), CHECK(unix_socket),
    CHECK(device), CHECK(lock_whole), CHECK(lock_range),
    CHECK(lock_of_open_file), CHECK(unlinked_content),
    CHECK(unlinked_metadata), CHECK(unlinked_reopened), CHECK(temporary),
    CHECK(watch), CHECK(change_of_an_image_file),
};

int main(int argc, char **argv)
{
    char directory[500];

    if (argc > 2 && strcmp(argv[argc - 1], "--exit-0") == 0)
        return 0;
    if (argc != 3 || chdir(argv[1]) < 0)
        return 2;
    umask(0022);
    image = argv[2];
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        snprintf(directory, sizeof(directory), "%s/fs-probe-%zu", argv[1],
                 i);
        if (mkdir(directory, 0755) < 0 || chdir(directory) < 0)
            return 3;
        const char *wrong = checks[i].run();
        printf("%s=%s\n", checks[i].name, wrong ? wrong : "ok");
        fflush(stdout);
    }
    puts("end=ok");
    return 0;
}
