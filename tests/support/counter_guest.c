/* A guest's only program: writes one counter to /dev/vda, /dev/vdb and /dev/vdc, in this order, each write done before the next begins.
 *
 * So at any instant a >= b >= c >= a - 1. Says COUNT on its console, four times a second.
 */
#include "guest_modules.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

enum { DISKS = 3, BLOCK = 4096 };

static int64_t quarters(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 4 + now.tv_nsec / 250000000;
}

int main(void) {
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/ttyS0", O_WRONLY), disks[DISKS];
  dup2(console, 1);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_modules();
  for (int disk = 0; disk < DISKS; disk++) {
    char path[] = "/dev/vda";
    path[7] = (char)('a' + disk);
    while ((disks[disk] = open(path, O_RDWR | O_DIRECT | O_DSYNC)) < 0) usleep(50 * 1000);
  }
  uint64_t *block;
  if (posix_memalign((void **)&block, BLOCK, BLOCK)) return 1;
  memset(block, 0, BLOCK);
  int64_t said = 0;
  for (;;) {
    block[0]++;
    for (int disk = 0; disk < DISKS; disk++)
      if (pwrite(disks[disk], block, BLOCK, 0) != BLOCK) printf("FAILED\n");
    if (quarters() != said) printf("COUNT %llu\n", (unsigned long long)block[0]);
    said = quarters();
  }
}
