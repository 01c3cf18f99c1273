/* A guest's only program: counts its boots where only firmware can, in a UEFI variable and in the NV memory of its TPM. Says what it found.
 *
 *   SEAWALL-UEFI found efi=N tpm=N     what the last boot left; 0: nothing
 *   SEAWALL-UEFI set efi=N tpm=N       one more, written and read back
 */
#include "guest_modules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLE "/efi/SeawallBoots-8d1b55ed-4c3f-4d3e-9a43-7c6a6f3f7a11"
#define NV_INDEX 0x01500077u
#define OWNER 0x40000001u
#define ATTRIBUTES 0x02060006u /* owner and auth may read and write; no lock-out */

/* A variable's file: 4 bytes of attributes, then its value. */
static uint64_t read_variable(void) {
  struct { uint32_t attributes; uint64_t value; } __attribute__((packed)) body = {0};
  int fd = open(VARIABLE, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t got = read(fd, &body, sizeof body);
  close(fd);
  return got == sizeof body ? body.value : 0;
}

static void write_variable(uint64_t value) {
  struct { uint32_t attributes; uint64_t value; } __attribute__((packed)) body = {7, value};
  int flags = 0, fd = open(VARIABLE, O_RDONLY);
  if (fd >= 0) { /* the kernel protects variables that it does not know */
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags)) printf("flags: %s\n", strerror(errno));
    close(fd);
  }
  fd = open(VARIABLE, O_WRONLY | O_CREAT, 0600);
  if (fd < 0 || write(fd, &body, sizeof body) != sizeof body) printf("variable: %s\n", strerror(errno));
  if (fd >= 0) close(fd);
}

struct command { uint8_t bytes[128]; size_t length; };

static void put(struct command *command, uint64_t value, size_t bytes) {
  while (bytes--) command->bytes[command->length++] = (uint8_t)(value >> (8 * bytes));
}

/* TPM 2.0: tag, length, code, handles, an empty password; what follows is the command's own. */
static struct command begin(uint32_t code, const uint32_t *handles, size_t count) {
  struct command command = {.length = 0};
  put(&command, 0x8002, 2);
  put(&command, 0, 4);
  put(&command, code, 4);
  for (size_t one = 0; one < count; one++) put(&command, handles[one], 4);
  put(&command, 9, 4);
  put(&command, 0x40000009u, 4);
  put(&command, 0, 2 + 1 + 2);
  return command;
}

/* The response's length; its code goes to `code`. */
static ssize_t run(struct command command, uint8_t *response, size_t size, uint32_t *code) {
  size_t length = command.length;
  command.length = 2;
  put(&command, length, 4);
  int fd = open("/dev/tpm0", O_RDWR);
  ssize_t got = -1;
  if (fd >= 0 && write(fd, command.bytes, length) == (ssize_t)length) got = read(fd, response, size);
  if (fd >= 0) close(fd);
  *code = got >= 10 ? (uint32_t)response[6] << 24 | response[7] << 16 | response[8] << 8 | response[9] : ~0u;
  return got;
}

static uint64_t read_tpm(void) {
  const uint32_t handles[] = {OWNER, NV_INDEX};
  struct command command = begin(0x14e, handles, 2);
  uint8_t response[128];
  uint32_t code;
  put(&command, 8, 2);
  put(&command, 0, 2);
  if (run(command, response, sizeof response, &code) < 24 || code) return 0;
  uint64_t value = 0;
  for (int at = 0; at < 8; at++) value = value << 8 | response[16 + at];
  return value;
}

static void write_tpm(uint64_t value) {
  const uint32_t handles[] = {OWNER, NV_INDEX};
  uint8_t response[128];
  uint32_t code;
  struct command define = begin(0x12a, handles, 1);
  put(&define, 0, 2);  /* no password of its own */
  put(&define, 14, 2); /* the public part: index, SHA-256, attributes, no policy, 8 bytes */
  put(&define, NV_INDEX, 4);
  put(&define, 0x000b, 2);
  put(&define, ATTRIBUTES, 4);
  put(&define, 0, 2);
  put(&define, 8, 2);
  run(define, response, sizeof response, &code); /* 0x14c: it is there already */
  if (code && code != 0x14c) printf("tpm define: %#x\n", code);
  struct command command = begin(0x137, handles, 2);
  put(&command, 8, 2);
  put(&command, value, 8);
  put(&command, 0, 2);
  run(command, response, sizeof response, &code);
  if (code) printf("tpm write: %#x\n", code);
}

int main(void) {
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/ttyS0", O_WRONLY);
  dup2(console, 1);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_modules();
  mkdir("/efi", 0700);
  if (mount("efi", "/efi", "efivarfs", 0, NULL)) printf("efivarfs: %s\n", strerror(errno));
  uint64_t efi = read_variable(), tpm = read_tpm();
  printf("SEAWALL-UEFI found efi=%llu tpm=%llu\n", (unsigned long long)efi, (unsigned long long)tpm);
  write_variable(efi + 1);
  write_tpm(tpm + 1);
  printf("SEAWALL-UEFI set efi=%llu tpm=%llu\n", (unsigned long long)read_variable(), (unsigned long long)read_tpm());
  for (;;) pause();
}
