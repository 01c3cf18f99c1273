/* A guest's serial ports as the host reads and writes them, and the clock of what is said there. For its first program, process 1. */
#ifndef SEAWALL_GUEST_SERIAL_H
#define SEAWALL_GUEST_SERIAL_H
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

/* The second port, which never blocks. */
static int open_commands(void) {
  int fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK);
  struct termios raw;
  if (fd < 0 || tcgetattr(fd, &raw) != 0) return -1; /* a guest without the port takes no commands and is a guest still */
  cfmakeraw(&raw);
  tcsetattr(fd, TCSANOW, &raw);
  return fd;
}

/* Standard input and output are the first port, which shows each line at once; /proc and /dev are there. */
static void open_console(void) {
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
  for (int fd = 0; fd < 3; fd++) dup2(console, fd);
  setvbuf(stdout, NULL, _IOLBF, 0);
}
#endif
