#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYNC_MARK 0xFF /* resets the parser; precedes the answer to guest-sync-delimited */

int agent_open(void) {
  DIR *devices = opendir("/dev");
  int fd = -1;
  for (struct dirent *entry; devices && fd < 0 && (entry = readdir(devices));) {
    char path[300];
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    if (strncmp(entry->d_name, "vport", 5) == 0) fd = open(path, O_RDWR | O_NONBLOCK);
  }
  if (devices) closedir(devices);
  return fd;
}

static bool asks(const char *line, const char *command) {
  char quoted[64];
  snprintf(quoted, sizeof quoted, "\"%s\"", command);
  return strstr(line, quoted) != NULL;
}

static long long id_of(const char *line) {
  const char *at = strstr(line, "\"id\"");
  return at ? strtoll(at + 4 + strspn(at + 4, " :"), NULL, 10) : 0;
}

static void set_frozen(bool *frozen, bool now) {
  *frozen = now;
  printf("SEAWALL-GUEST-%s\n", now ? "FROZEN" : "THAWED");
}

static void answer(int fd, const char *line, bool *frozen) {
  char reply[192];
  const char *mark = asks(line, "guest-sync-delimited") ? "\xff" : "";
  if (*mark || asks(line, "guest-sync")) snprintf(reply, sizeof reply, "%s{\"return\": %lld}\n", mark, id_of(line));
  else if (asks(line, "guest-ping")) snprintf(reply, sizeof reply, "{\"return\": {}}\n");
  else if (asks(line, "guest-fsfreeze-status")) snprintf(reply, sizeof reply, "{\"return\": \"%s\"}\n", *frozen ? "frozen" : "thawed");
  else if (*frozen && asks(line, "guest-fsfreeze-freeze")) /* as Debian's says it */
    snprintf(reply, sizeof reply, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
      "\"Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state\"}}\n");
  else if (asks(line, "guest-fsfreeze-freeze") || asks(line, "guest-fsfreeze-freeze-list")) {
    set_frozen(frozen, true);
    snprintf(reply, sizeof reply, "{\"return\": 2}\n");
  } else if (asks(line, "guest-fsfreeze-thaw")) {
    snprintf(reply, sizeof reply, "{\"return\": %d}\n", *frozen ? 2 : 0);
    set_frozen(frozen, false);
  } else snprintf(reply, sizeof reply, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"unknown command\"}}\n");
  if (write(fd, reply, strlen(reply)) < 0) perror("agent"); /* libvirt went away: it will sync again when it is back */
}

bool agent_answer(int fd, bool *frozen) {
  static char line[1024];
  static size_t length;
  unsigned char byte;
  bool any = false;
  while (read(fd, &byte, 1) == 1) {
    any = true;
    if (byte == SYNC_MARK) length = 0;
    else if (byte != '\n' && length < sizeof line - 1) line[length++] = (char)byte;
    else if (byte == '\n') {
      line[length] = 0;
      length = 0;
      answer(fd, line, frozen);
    }
  }
  return any;
}
