/* A guest that works at a steady pace, with Debian's guest agent: process 1 of its initramfs.
 *
 * /dev/vda: ext4, mounted on /data; a file on it grows by 4 KiB every 20 ms, each write synced: what a freeze stops.
 * /dev/vdb: 4 KiB direct writes at random places, `rate=` of the kernel's command line a second; how long each took, counted from when it
 *           was due, so that a stall counts for all writes that waited behind it.
 * Console (first serial port): READY; TICK n gap_ms four times a second (the longest wait of the file since the last one); HOOK freeze|thaw;
 *           AGENT pid; LATENCY ...; DONE command; FAILED what.
 * Commands (second serial port, a line each): mark | report | hold | go | rate N | agent start|stop|cont|kill | hook N (seconds that each
 *           hook takes) | span N (MiB of vdb that are written to) | sysrq N (what the keyboard may order) | off.
 * As `init freeze` and `init thaw` it is the agent's own hook, where the initramfs has no /etc/qemu/fsfreeze-hook.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MOST = 1 << 18 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t took_us[MOST];
static size_t count;
static uint64_t total; /* paced writes since the boot: the n-th one always goes to the same place */
static _Atomic unsigned rate = 50;
static _Atomic int holding;
static _Atomic uint64_t span;
static _Atomic int64_t gap_since_ms, longest_gap_ms;
static _Atomic uint64_t files_written;

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000ll + now.tv_nsec / 1000;
}

static void sleep_until(int64_t due_us) {
  struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void say_failed(const char *what) { printf("FAILED %s: %s\n", what, strerror(errno)); }

static void load_modules(void) {
  struct dirent **names;
  int found = scandir("/modules", &names, NULL, alphasort);
  for (int at = 0; at < found; at++) {
    char path[300];
    snprintf(path, sizeof path, "/modules/%s", names[at]->d_name);
    int fd = names[at]->d_name[0] == '.' ? -1 : open(path, O_RDONLY);
    if (fd >= 0 && syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST) say_failed(path);
    if (fd >= 0) close(fd);
  }
}

static void await_file(const char *path) {
  while (access(path, F_OK)) usleep(20000);
}

/* The paced writer of /dev/vdb. */
static void *write_paced(void *unused) {
  (void)unused;
  int disk = open("/dev/vdb", O_RDWR | O_DIRECT);
  unsigned long long size = 0;
  char *block;
  if (disk < 0 || ioctl(disk, BLKGETSIZE64, &size) || posix_memalign((void **)&block, BLOCK, BLOCK)) {
    say_failed("vdb");
    return NULL;
  }
  uint64_t seed = 88172645463325252ull;
  for (int64_t due = now_us();;) {
    due += 1000000 / rate;
    sleep_until(due);
    if (holding) {
      due = now_us();
      continue;
    }
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    uint64_t within = span && span < size ? span : size;
    for (int at = 0; at < BLOCK; at += 8) memcpy(block + at, &(uint64_t){seed * (uint64_t)(at + 1)}, 8);
    if (pwrite(disk, block, BLOCK, (off_t)(seed % (within / BLOCK) * BLOCK)) != BLOCK) say_failed("write");
    int64_t took = now_us() - due;
    pthread_mutex_lock(&lock);
    if (count < MOST) took_us[count++] = (uint32_t)took;
    total++;
    pthread_mutex_unlock(&lock);
  }
}

/* The synced writer of the file: what a freeze stops. */
static void *write_file(void *unused) {
  (void)unused;
  int file = open("/data/log", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char block[BLOCK];
  memset(block, 'x', sizeof block);
  if (file < 0) {
    say_failed("log");
    return NULL;
  }
  for (uint64_t number = 0;; number++) {
    gap_since_ms = now_us() / 1000;
    if (pwrite(file, block, BLOCK, (off_t)(number % 2048 * BLOCK)) != BLOCK || fdatasync(file)) say_failed("log");
    int64_t gap = now_us() / 1000 - gap_since_ms;
    if (gap > longest_gap_ms) longest_gap_ms = gap;
    files_written++;
    gap_since_ms = now_us() / 1000;
    usleep(20000);
  }
}

static int by_size(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return a < b ? -1 : a > b;
}

static double part_ms(double part) { return count ? took_us[(size_t)(part * (double)(count - 1))] / 1000.0 : 0.0; }

static void report(void) {
  pthread_mutex_lock(&lock);
  qsort(took_us, count, sizeof *took_us, by_size);
  printf("LATENCY count=%zu p50_ms=%.3f p90_ms=%.3f p99_ms=%.3f max_ms=%.3f total=%llu\n", count, part_ms(0.5), part_ms(0.9),
         part_ms(0.99), part_ms(1.0), (unsigned long long)total);
  count = 0;
  pthread_mutex_unlock(&lock);
}

static void mark(void) {
  pthread_mutex_lock(&lock);
  count = 0;
  pthread_mutex_unlock(&lock);
}

static pid_t agent;

static const char *hook_option(void) { return access("/etc/qemu/fsfreeze-hook", X_OK) ? "-F/init" : "-F/etc/qemu/fsfreeze-hook"; }

static void start_agent(void) {
  char channel[300] = "";
  DIR *devices = opendir("/dev");
  for (struct dirent *entry; devices && (entry = readdir(devices));)
    if (strncmp(entry->d_name, "vport", 5) == 0) snprintf(channel, sizeof channel, "/dev/%s", entry->d_name);
  if (devices) closedir(devices);
  if (!*channel || access("/qemu-ga", X_OK)) {
    printf("AGENT none\n");
    return;
  }
  agent = fork();
  if (agent == 0) {
    execl("/qemu-ga", "qemu-ga", "-m", "virtio-serial", "-p", channel, "-t", "/run", "-f", "/run/qga.pid", hook_option(), "-l", "/run/qga.log", (char *)NULL);
    _exit(1);
  }
  printf("AGENT %d\n", agent);
}

static void stop_agent(int number) {
  if (agent > 0) kill(agent, number);
  if (number == SIGKILL && agent > 0) {
    waitpid(agent, NULL, 0);
    unlink("/run/qga.pid");
    agent = 0;
  }
}

static void write_to(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || write(file, text, strlen(text)) < 0) say_failed(path);
  if (file >= 0) close(file);
}

static void obey(const char *line) {
  if (strcmp(line, "mark") == 0) mark();
  else if (strcmp(line, "report") == 0) report();
  else if (strcmp(line, "hold") == 0) holding = 1;
  else if (strcmp(line, "go") == 0) holding = 0;
  else if (strncmp(line, "rate ", 5) == 0 && atoi(line + 5) > 0) rate = (unsigned)atoi(line + 5);
  else if (strncmp(line, "span ", 5) == 0) span = strtoull(line + 5, NULL, 10) << 20;
  else if (strcmp(line, "agent start") == 0) start_agent();
  else if (strcmp(line, "agent stop") == 0) stop_agent(SIGSTOP);
  else if (strcmp(line, "agent cont") == 0) stop_agent(SIGCONT);
  else if (strcmp(line, "agent kill") == 0) stop_agent(SIGKILL);
  else if (strncmp(line, "hook ", 5) == 0) write_to("/run/hook", line + 5);
  else if (strncmp(line, "sysrq ", 6) == 0) write_to("/proc/sys/kernel/sysrq", line + 6);
  else if (strcmp(line, "off") == 0) {
    sync();
    reboot(RB_POWER_OFF);
  } else line = "unknown";
  printf("DONE %s\n", line);
}

/* The agent calls this program before it freezes and after it thawed. */
static int hook(const char *what) {
  char seconds[16] = "";
  int file = open("/run/hook", O_RDONLY), console = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
  if (file >= 0 && read(file, seconds, sizeof seconds - 1) < 0) return 1;
  dprintf(console, "HOOK %s\n", what);
  if (atoi(seconds)) sleep((unsigned)atoi(seconds));
  return 0;
}

int main(int words, char **word) {
  if (getpid() != 1) return words > 1 ? hook(word[1]) : 2;
  static const char *const places[] = {"/sys", "/run", "/data", "/tmp", "/var", "/var/run", "/var/log"};
  for (size_t at = 0; at < sizeof places / sizeof *places; at++) mkdir(places[at], 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sys", "/sys", "sysfs", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  mount("run", "/run", "tmpfs", 0, NULL);

  int console = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
  for (int fd = 0; fd < 3; fd++) dup2(console, fd);
  setvbuf(stdout, NULL, _IOLBF, 0);
  load_modules();
  await_file("/dev/vda");
  if (mount("/dev/vda", "/data", "ext4", 0, NULL)) say_failed("mount");
  int commands = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_NONBLOCK);
  struct termios raw;
  if (commands >= 0 && tcgetattr(commands, &raw) == 0) {
    cfmakeraw(&raw);
    tcsetattr(commands, TCSANOW, &raw);
  }
  pthread_t threads[2];
  gap_since_ms = now_us() / 1000;
  pthread_create(&threads[0], NULL, write_file, NULL);
  if (access("/dev/vdb", F_OK) == 0) pthread_create(&threads[1], NULL, write_paced, NULL);
  start_agent();
  printf("READY\n");
  char line[64];
  size_t length = 0;
  for (int64_t next = now_us();;) {
    char byte;
    while (read(commands, &byte, 1) == 1) {
      if (byte != '\n' && length < sizeof line - 1) line[length++] = byte;
      if (byte == '\n') {
        line[length] = 0;
        length = 0;
        obey(line);
      }
    }
    if (now_us() >= next) {
      int64_t present = now_us() / 1000 - gap_since_ms, longest = longest_gap_ms;
      longest_gap_ms = 0;
      printf("TICK %llu %lld\n", (unsigned long long)files_written, (long long)(present > longest ? present : longest));
      next = now_us() + 250000;
    }
    usleep(10000);
  }
}
