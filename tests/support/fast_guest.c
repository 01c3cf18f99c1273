/* A guest's only program: writes all over /dev/vda, as fast as it can, for ever. Says so on its console, once a second. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, MODULES = 16 };

static void load_modules(void) {
  for (int number = 0; number < MODULES; number++) {
    char command[64];
    snprintf(command, sizeof command, "/modules/%02d-", number);
    static const char *names[] = {"virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"};
    for (size_t one = 0; one < sizeof names / sizeof *names; one++) {
      char path[128];
      snprintf(path, sizeof path, "%s%s.ko", command, names[one]);
      int fd = open(path, O_RDONLY);
      if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0)) printf("no module %s: %s\n", path, strerror(errno));
      if (fd >= 0) close(fd);
    }
  }
}

int main(void) {
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/ttyS0", O_WRONLY), disk;
  dup2(console, 1);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_modules();
  while ((disk = open("/dev/vda", O_RDWR | O_DIRECT)) < 0) usleep(50 * 1000);
  unsigned long long size, at = 0;
  if (ioctl(disk, BLKGETSIZE64, &size)) return 1;
  char *block;
  if (posix_memalign((void **)&block, 4096, BLOCK)) return 1;
  memset(block, 7, BLOCK);
  time_t said = 0;
  for (;;) {
    if (pwrite(disk, block, BLOCK, (off_t)at) != BLOCK) printf("FAILED %s\n", strerror(errno));
    at = at + 2 * BLOCK > size ? 0 : at + BLOCK;
    if (at == 0) printf("ROUND\n");
    if (time(NULL) != said) printf("WRITES\n");
    said = time(NULL);
  }
}
