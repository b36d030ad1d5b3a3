/* The least that a durable coprocess can do: append a line, fdatasync, echo it. For benches/progress-mark.py. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char line[4096];
	int fd = argc == 2 ? open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;
	if (fd < 0) {
		perror("open");
		return 1;
	}
	while (fgets(line, sizeof line, stdin)) {
		size_t n = strlen(line);
		if (write(fd, line, n) != (ssize_t)n || fdatasync(fd)) {
			perror("write");
			return 1;
		}
		fputs(line, stdout);
		fflush(stdout);
	}
	return 0;
}
