/* The laboratory's guest: /init of its initramfs, and on the build machine the tool that lays out and checks its disk images.
 *
 *   guest                    as process 1: load modules, verify /dev/vda and /dev/vdb, say the verdict on the console, write for ever
 *   guest format VDA VDB     write a first whole pass into raw image files
 *   guest verify VDA VDB     the same verdict on raw image files; exit 0 when good, 1 when bad
 *   guest advance VDA VDB    what the guest does in a while, at once: two trim rounds among 2,000 operations
 *   guest replay VDA VDB SEQ the operations up to that one, as a guest that was never told to trim does them, then the verdict
 *
 * Console (first serial port): SEAWALL-GUEST-VERDICT, then SEAWALL-GUEST-TICK four times a second, SEAWALL-GUEST-DONE per command.
 * Commands (second serial port, a line each): trim | hold | go | rate N (operations a second) | off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
#include "disks.h"
#include "serial.h"

#define DEFAULT_RATE 24

struct writer {
  struct disks disks;
  uint64_t seq;
  uint32_t generation;
  bool holding, frozen;
  unsigned rate;
};

void fail(const char *what) {
  printf("SEAWALL-GUEST-VERDICT bad records=0 bad=0 seq=0 generation=0 error=%s: %s\n", what, strerror(errno));
  fflush(stdout);
  if (getpid() != 1) exit(2);
  for (;;) pause(); /* process 1 must not end: the kernel would panic and the reason scroll away */
}

static int say_verdict(struct verdict verdict) {
  printf("SEAWALL-GUEST-VERDICT %s records=%llu bad=%llu seq=%llu generation=%u\n", verdict.bad ? "bad" : "ok",
         (unsigned long long)verdict.checked, (unsigned long long)verdict.bad, (unsigned long long)verdict.seq, verdict.generation);
  return verdict.bad ? 1 : 0;
}

static void load_modules(void) {
  struct dirent **names;
  int count = scandir("/modules", &names, NULL, alphasort);
  for (int at = 0; at < count; at++) {
    char path[300];
    snprintf(path, sizeof path, "/modules/%s", names[at]->d_name);
    int fd = names[at]->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
    if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) fail(path);
    if (fd >= 0) close(fd);
  }
}

static void await_file(const char *path) {
  for (int tries = 0; access(path, F_OK) != 0; tries++) {
    if (tries > 1000) fail(path);
    usleep(10000);
  }
}

static void boot(void) {
  open_console();
  load_modules();
  await_file("/dev/vda");
  await_file("/dev/vdb");
}

static void write_one(struct writer *writer) {
  disks_write(&writer->disks, writer->seq + 1, writer->generation);
  writer->seq++;
}

/* The odd generation in the ring says that a round is under way: whoever verifies meanwhile takes either state of each trim sector. */
static void trim(struct writer *writer) {
  writer->generation |= 1;
  write_one(writer);
  disks_trim(&writer->disks, (writer->generation + 1) / 2);
  writer->generation++;
  write_one(writer);
}

static void obey(struct writer *writer, const char *command) {
  if (strcmp(command, "trim") == 0) trim(writer);
  else if (strcmp(command, "hold") == 0) writer->holding = true;
  else if (strcmp(command, "go") == 0) writer->holding = false;
  else if (strncmp(command, "rate ", 5) == 0 && atoi(command + 5) > 0) writer->rate = (unsigned)atoi(command + 5);
  else if (strcmp(command, "off") == 0) reboot(RB_POWER_OFF);
  else command = "unknown";
  printf("SEAWALL-GUEST-DONE %s seq=%llu generation=%u\n", command, (unsigned long long)writer->seq, writer->generation);
}

/* Commands come byte by byte through a port that may have no reader's end: false when there was nothing. */
static bool take_command_byte(struct writer *writer, int fd) {
  static char line[64];
  static size_t length;
  char byte;
  if (read(fd, &byte, 1) != 1) return false;
  if (byte != '\n' && length < sizeof line - 1) line[length++] = byte;
  if (byte == '\n') {
    line[length] = 0;
    length = 0;
    obey(writer, line);
  }
  return true;
}

static void listen_until(struct writer *writer, int commands, int agent, int64_t until_ms) {
  for (int64_t left; (left = until_ms - now_ms()) > 0;) {
    struct pollfd ready[] = {{.fd = commands, .events = POLLIN}, {.fd = agent, .events = POLLIN}};
    if (poll(ready, 2, (int)left) <= 0) continue;
    bool any = agent_answer(agent, &writer->frozen);
    any = take_command_byte(writer, commands) || any;
    if (!any) usleep(10000); /* a hung-up end is always ready and never has anything */
  }
}

static void run_guest(void) {
  static const char *const devices[DISKS] = {"/dev/vda", "/dev/vdb"};
  struct writer writer = {.rate = DEFAULT_RATE};
  boot();
  disks_open(&writer.disks, devices, true, true);
  struct verdict verdict = disks_verify(&writer.disks);
  int commands = open_commands(), agent = agent_open();
  writer.seq = verdict.seq;
  writer.generation = verdict.generation;
  writer.holding = say_verdict(verdict) != 0; /* bad disks are left as they are found */
  if (!writer.holding) disks_write(&writer.disks, writer.seq, writer.generation); /* it may have been cut short */
  if (!writer.holding && writer.generation % 2 == 1) trim(&writer);
  for (int64_t next_tick = 0, next = now_ms();; next += 1000 / writer.rate) {
    if (!writer.holding && !writer.frozen) write_one(&writer);
    if (now_ms() >= next_tick) {
      printf("SEAWALL-GUEST-TICK seq=%llu generation=%u\n", (unsigned long long)writer.seq, writer.generation);
      next_tick = now_ms() + 250;
    }
    if (now_ms() > next + 1000) next = now_ms(); /* suspended or slow: do not catch up in a burst */
    listen_until(&writer, commands, agent, next + 1000 / writer.rate);
  }
}

static void advance(const struct disks *disks) {
  struct verdict start = disks_verify(disks);
  struct writer writer = {.disks = *disks, .seq = start.seq, .generation = start.generation};
  for (int step = 0; step < 2000; step++)
    if (step == 500 || step == 1500) trim(&writer);
    else write_one(&writer);
}

static void replay(const struct disks *disks, uint64_t until) {
  struct verdict start = disks_verify(disks);
  for (uint64_t seq = start.seq + 1; seq <= until; seq++) disks_write(disks, seq, start.generation);
}

int main(int count, char **words) {
  struct disks disks;
  if (getpid() == 1) run_guest();
  bool replayed = count == 5 && strcmp(words[1], "replay") == 0;
  if (count != 4 && !replayed) {
    fprintf(stderr, "usage: guest format|verify|advance VDA VDB, guest replay VDA VDB SEQ\n");
    return 2;
  }
  bool format = strcmp(words[1], "format") == 0, forward = strcmp(words[1], "advance") == 0;
  disks_open(&disks, (const char *const *)(words + 2), format || forward || replayed, false);
  if (format) disks_format(&disks);
  else if (forward) advance(&disks);
  else if (replayed) replay(&disks, strtoull(words[4], NULL, 10));
  return format ? 0 : say_verdict(disks_verify(&disks));
}
