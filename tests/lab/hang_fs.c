/* hang_fs DIR: mounts a file system on DIR that never answers, says so on standard output, and stays. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char options[64];
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
    if (argc != 2 || fuse < 0 || mount("hang", argv[1], "fuse", MS_NOSUID | MS_NODEV, options)) {
        perror("hang_fs");
        return 1;
    }
    puts("mounted");
    fflush(stdout);
    for (;;)
        pause();
}
