"""`seawall up`: a controller and an agent of one machine, made once, then kept running as children of one command.

places (names of files), settings (what is remembered), plan (decisions) and restarts (when a child is started again) are pure;
settle, start, serve and life are the shell; child, child_log, locks, signals and tied are what the shell works with.
"""
