/* delegate GROUP: marks a control group as systemd marks those that it leaves to others. */
#include <stdio.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
    if (argc != 2 || setxattr(argv[1], "trusted.delegate", "1", 1, 0)) {
        perror("delegate");
        return 1;
    }
    return 0;
}
