/* The command of every container that is measured: does nothing. With an argument it shows how it is confined. */
#include <fcntl.h>
#include <unistd.h>

static void show(const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY);
	ssize_t got;
	while (fd >= 0 && (got = read(fd, text, sizeof text)) > 0)
		if (write(1, text, (size_t)got) < 0)
			_exit(1);
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		show("/proc/self/status");
		show("/proc/self/uid_map");
	}
	return 0;
}
