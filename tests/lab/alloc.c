/* alloc MIB: holds nothing until a line comes on standard input, then MIB of touched memory until the input ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    char line[16];
    size_t size = argc > 1 ? (size_t)atol(argv[1]) << 20 : 0;
    if (!fgets(line, sizeof line, stdin))
        return 1;
    char *memory = malloc(size);
    if (!memory)
        return 1;
    memset(memory, 1, size);
    puts("held");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        ;
    return memory[size / 2] != 1;
}
