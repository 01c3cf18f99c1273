"""What the images hold, with fixed seeds. Whoever changes anything here also changes VERSION: it makes the images anew."""

VERSION = 2

MIB = 1 << 20
IMAGE_BYTES = 20 * 1024 * MIB
"""The usual root disk of a rented server: most of a VM's disk was never written to."""
PARTITION_OFFSET = MIB
SUITE = "bookworm"

SERVER = ("openssh-server", "rsyslog", "cron", "vim", "git")
SERVICES = ("postgresql", "nginx", "redis-server", "mariadb-server", "php-cli", "nodejs")
COMPILERS = ("build-essential", "clang", "golang-go", "openjdk-17-jdk-headless", "cmake", "gdb", "python3-full")
BASE_PACKAGES = (*SERVER, *SERVICES, *COMPILERS)
INDEPENDENT_PACKAGES = (*reversed(COMPILERS), *reversed(SERVICES), *reversed(SERVER), "python3-scipy", "tmux")
NEXT_DAY_PACKAGES = ("zsh-common", "zsh")

DATABASE = "var/lib/postgresql/15/main/base/16384/24601"
DATABASE_PAGES = 51_200
PAGE_BYTES = 8192
CHANGED_PAGES = 2_000
UPLOADS = 40
UPLOAD_BYTES = MIB
ACCESS_LOG = "var/log/nginx/access.log"
SYSLOG = "var/log/syslog"
LOG_LINES = 60_000
"""Of each log, in the clone; a day adds as many."""
REWRITTEN_FILES = 1_500

SEEDS = {"clone": 11, "next_day": 12, "rewritten": 13, "independent": 14}
