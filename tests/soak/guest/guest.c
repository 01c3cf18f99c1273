/* The soak's guest: /init of its initramfs, and on the machine the tool that labels, plays and judges raw images (tool.c).
 *
 *   soak                        as process 1: write to every labelled disk for ever, one operation after the other, each on the disk before the next
 *   soak label|judge|play ...   see tool.c
 *
 * Console (first serial port), each line with the guest's own milliseconds:
 *   SOAK-READY ms= disks=                     it writes
 *   SOAK-TICK ms= global= errors= slow= ID:K ...   four times a second: operations done, in all and on each disk; the slowest since the last one
 *   SOAK-FROZEN ms=, SOAK-THAWED ms= held=    by the guest agent's commands
 *   SOAK-ERROR ms= disk= operation= errno=    a write failed; it is tried again
 *   SOAK-GREW, SOAK-FOUND, SOAK-DROPPED       disks that changed
 * Commands (second serial port, a line each): off | rate N | drop vdX (before it is taken away).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "agent.h"
#include "guest_modules.h"
#include "perform.h"
#include "serial.h"
#include "tool.h"

#define NAMES 8u
#define RATE 24u
#define RETRY_MS 200
#define LOOK_MS 1000

struct guest {
  struct disk disks[NAMES];
  unsigned count, rate, errors;
  bool dropped[NAMES]; /* by the letter of the name; until the device is gone */
  bool frozen;
  uint64_t global;
  int64_t frozen_at, slowest;
};

static void boot(void) {
  open_console();
  load_modules();
}

static void retried(struct guest *guest, const struct disk *disk, const char *what, int failed) {
  guest->errors++;
  printf("SOAK-ERROR ms=%lld disk=%s what=%s operation=%llu errno=%d\n", (long long)now_ms(), disk->name, what,
         (unsigned long long)disk->head.done + 1, failed);
  usleep(RETRY_MS * 1000);
}

static void write_one(struct guest *guest, struct disk *disk) {
  int64_t began = now_ms();
  int failed;
  while ((failed = perform(disk, disk->head.done + 1)) != 0) retried(guest, disk, "data", failed);
  while ((failed = finish(disk, guest->global + 1, guest->disks, guest->count)) != 0) retried(guest, disk, "head", failed);
  guest->global++;
  if (now_ms() - began > guest->slowest) guest->slowest = now_ms() - began;
}

static uint64_t device_sectors(const struct disk *disk) {
  uint64_t bytes = 0;
  return ioctl(disk->fd, BLKGETSIZE64, &bytes) == 0 && bytes > disk->base ? (bytes - disk->base) / SECTOR : 0;
}

static void notice_growth(struct guest *guest, struct disk *disk) {
  uint64_t sectors = device_sectors(disk);
  int failed;
  if (sectors <= sectors_at(&disk->label, UINT64_MAX) || disk->label.count == MOST_SIZES) return;
  disk->label.sizes[disk->label.count++] = (struct size_since){disk->head.done + 1, sectors};
  seal_label(&disk->label);
  while ((failed = write_label(disk)) != 0) retried(guest, disk, "label", failed);
  printf("SOAK-GREW ms=%lld disk=%s sectors=%llu\n", (long long)now_ms(), disk->name, (unsigned long long)sectors);
}

/* `done[at]`: it is known. A disk whose label cannot be read yet is looked at again. */
static void look_for_disks(struct guest *guest, bool known[NAMES], unsigned *first_new) {
  *first_new = guest->count;
  for (unsigned letter = 0; letter < NAMES && guest->count < NAMES; letter++) {
    struct disk *disk = &guest->disks[guest->count];
    char path[32];
    snprintf(path, sizeof path, "/dev/vd%c", 'a' + (int)letter);
    if (access(path, F_OK) != 0) known[letter] = guest->dropped[letter] = false;
    else if (!known[letter] && !guest->dropped[letter] && (disk->fd = open(path, O_RDWR | O_DIRECT | O_SYNC)) >= 0) {
      disk->device = true;
      snprintf(disk->name, sizeof disk->name, "vd%c", 'a' + (int)letter);
      known[letter] = read_front(disk);
      if (!known[letter]) close(disk->fd);
      else guest->count++;
    }
  }
}

/* What a killed guest left half done on a new disk is done first, by the label that it had then. */
static void take_in(struct guest *guest, bool known[NAMES]) {
  unsigned first;
  look_for_disks(guest, known, &first);
  for (unsigned at = first; at < guest->count; at++)
    if (guest->disks[at].head.global > guest->global) guest->global = guest->disks[at].head.global;
  for (unsigned at = first; at < guest->count; at++) {
    printf("SOAK-FOUND ms=%lld disk=%s id=%llx done=%llu\n", (long long)now_ms(), guest->disks[at].name,
           (unsigned long long)guest->disks[at].label.id, (unsigned long long)guest->disks[at].head.done);
    write_one(guest, &guest->disks[at]);
  }
  for (unsigned at = 0; at < guest->count; at++) notice_growth(guest, &guest->disks[at]);
}

static void drop(struct guest *guest, bool known[NAMES], const char *name) {
  for (unsigned at = 0; at < guest->count; at++) {
    if (strcmp(guest->disks[at].name, name) != 0) continue;
    unsigned letter = (unsigned)(name[2] - 'a');
    close(guest->disks[at].fd);
    memmove(&guest->disks[at], &guest->disks[at + 1], (guest->count - at - 1) * sizeof *guest->disks);
    guest->count--;
    guest->dropped[letter] = true;
    known[letter] = false;
    printf("SOAK-DROPPED ms=%lld disk=%s\n", (long long)now_ms(), name);
    return;
  }
}

static void obey(struct guest *guest, bool known[NAMES], const char *command) {
  if (strcmp(command, "off") == 0) reboot(RB_POWER_OFF);
  else if (strncmp(command, "drop ", 5) == 0) drop(guest, known, command + 5);
  else if (strncmp(command, "rate ", 5) == 0 && atoi(command + 5) > 0) guest->rate = (unsigned)atoi(command + 5);
  printf("SOAK-DONE %s\n", command);
}

static bool take_command_byte(struct guest *guest, bool known[NAMES], int fd) {
  static char line[64];
  static size_t length;
  char byte;
  if (read(fd, &byte, 1) != 1) return false;
  if (byte != '\n' && length < sizeof line - 1) line[length++] = byte;
  if (byte == '\n') {
    line[length] = 0;
    length = 0;
    obey(guest, known, line);
  }
  return true;
}

static void note_freeze(struct guest *guest, bool was) {
  if (guest->frozen && !was) {
    guest->frozen_at = now_ms();
    printf("SOAK-FROZEN ms=%lld\n", (long long)guest->frozen_at);
  }
  if (!guest->frozen && was) printf("SOAK-THAWED ms=%lld held=%lld\n", (long long)now_ms(), (long long)(now_ms() - guest->frozen_at));
}

static void listen_until(struct guest *guest, bool known[NAMES], int commands, int agent, int64_t until_ms) {
  for (int64_t left; (left = until_ms - now_ms()) > 0;) {
    struct pollfd ready[] = {{.fd = commands, .events = POLLIN}, {.fd = agent, .events = POLLIN}};
    if (poll(ready, 2, (int)left) <= 0) continue;
    bool was = guest->frozen;
    bool any = agent_answer(agent, &guest->frozen);
    note_freeze(guest, was);
    any = take_command_byte(guest, known, commands) || any;
    if (!any) usleep(10000); /* a hung-up end is always ready and never has anything */
  }
}

static void tick(struct guest *guest) {
  printf("SOAK-TICK ms=%lld global=%llu errors=%u slow=%lld", (long long)now_ms(), (unsigned long long)guest->global, guest->errors,
         (long long)guest->slowest);
  for (unsigned at = 0; at < guest->count; at++)
    printf(" %llx:%llu", (unsigned long long)guest->disks[at].label.id, (unsigned long long)guest->disks[at].head.done);
  printf("\n");
  guest->slowest = 0;
}

static void run_guest(void) {
  static struct guest guest = {.rate = RATE};
  bool known[NAMES] = {false};
  boot();
  while (guest.count == 0) {
    take_in(&guest, known);
    usleep(20000);
  }
  int commands = open_commands(), agent = agent_open();
  printf("SOAK-READY ms=%lld disks=%u\n", (long long)now_ms(), guest.count);
  int64_t next_tick = 0, next_look = now_ms() + LOOK_MS;
  for (int64_t next = now_ms();; next += 1000 / guest.rate) {
    if (!guest.frozen && guest.count > 0) write_one(&guest, &guest.disks[mix(guest.global) % guest.count]);
    if (!guest.frozen && now_ms() >= next_look) {
      take_in(&guest, known);
      next_look = now_ms() + LOOK_MS;
    }
    if (now_ms() >= next_tick) {
      tick(&guest);
      next_tick = now_ms() + 250;
    }
    if (now_ms() > next + 1000) next = now_ms(); /* suspended or slow: do not catch up in a burst */
    listen_until(&guest, known, commands, agent, next + 1000 / guest.rate);
  }
}

int main(int count, char **words) {
  if (getpid() == 1) run_guest();
  if (count == 5 && strcmp(words[1], "label") == 0) return tool_label(words[2], strtoull(words[3], NULL, 10), strtoull(words[4], NULL, 16));
  if (count >= 4 && strcmp(words[1], "judge") == 0) return tool_judge(words[2], strtoull(words[3], NULL, 10), count == 5 ? words[4] : NULL);
  if (count == 5 && strcmp(words[1], "play") == 0) return tool_play(words[2], strtoull(words[3], NULL, 10), strtoull(words[4], NULL, 10));
  fprintf(stderr, "usage: soak label RAW BASE ID | judge RAW BASE [BOOT] | play RAW BASE OPERATIONS\n");
  return 2;
}
