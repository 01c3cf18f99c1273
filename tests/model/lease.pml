/* The lease, the fence and the publication of one backup run, for spin.

   A database that may be put back to an older copy of itself, whether or not the bucket's epochs show that it is older, a bucket that never
   is, two hosts that may stop at any point and come back at any later one, a leader whose timers may fire whenever a state allows it, and a collection that sweeps what nobody needs. There is no
   time: whatever a deadline allows may happen at once or never. So what holds here needs no clock.

   Each transaction is one atomic step. What is not in a transaction (uploads, PUT of the manifest, the sweep itself) is a step of its own.
   Assumed: a PUT that was given up lands before the grace of a collection is over, or never.

   What must hold (assertions, marked I1 to I6):
   I1  at most one attempt of a run is acknowledged;
   I2  no manifest names data that was swept, and no data that a manifest names is swept;
   I3  only the current attempt of a run is validated;
   I4  a run that was acknowledged does not end otherwise, and is not begun again;
   I5  an attempt that is over never acts again, but for a roll-back;
   I6  nothing is published under the name of a point that was deleted: its tombstone would delete that too.

   LEASE_VARIANT in the environment of the verifier chooses what is left out; WHOLE leaves out nothing. The names of states are those of
   seawall.controller.records.runs, and the `move`s are all changes of a backup's attempt that the controller's machine makes: a test
   compares both. */

#ifndef ATTEMPTS
#define ATTEMPTS 3	/* 1 and 2; 0 is none */
#endif
#ifndef COPIES
#define COPIES 1	/* of the database, taken at any moment */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 1
#endif

#define WHOLE 0
#define NO_FENCE 1	/* whoever hands in is validated */
#define NUMBER_FENCE 2	/* the fence is a number that the database counts */
#define NO_VALIDATION 3	/* what is handed in is not compared with what was collected */
#define NO_RECOVERY 4	/* after a roll-back manifests and logs in the bucket are not looked for */
#define NO_SECOND_LOOK 5	/* what was validated before a roll-back is published without another look at its data */
#define SWEEPS_OPEN 6	/* collection takes what no manifest names, whoever still works on it */
#define SWEEPS_ON 7	/* a collection of before a roll-back goes on */
#define NO_TOMBSTONES 8	/* a recovery does not look for tombstones of runs that are open */
#define LOOK_IF_NOTICED 9	/* the second look only where an epoch shows that the database is older */

mtype = {
	READY, ACTIVE, SUCCEEDED, FAILED, CANCELED,	/* run; the last three attempts too */
	ASSIGNED, PREPARING, TRANSFERRING, LOST, PUBLISHING, EXPIRED, ABANDONED,
	NONE	/* no such row */
};

byte variant;

/* The database, and the copy that may be put back. */
mtype backup = READY, copied_backup = READY;
mtype state[ATTEMPTS] = NONE, copied_state[ATTEMPTS] = NONE;
byte current, copied_current, number, copied_number;
bool asked_to_stop, copied_asked;
bool condemned[ATTEMPTS], copied_condemned[ATTEMPTS];	/* data of attempts that collection took out of use */
byte copies, rollbacks;

/* What no roll-back touches: ids are never given twice; what a host was told; the leader's epoch, which each roll-back raises, as somebody
   leads anew; the database's epoch, which only one that is noticed raises. */
byte ids, term, epoch;
byte number_of[ATTEMPTS], epoch_of[ATTEMPTS];

/* The bucket: data of attempts, the log of what is being collected, and the one place of the run's manifest. */
bool uploaded[ATTEMPTS], swept[ATTEMPTS];
byte chosen;	/* by the collection; 0: none */
bool logged;	/* that it was chosen */
byte manifest;
bool tombstone;	/* of that manifest: its point was deleted, and its name is taken for ever */

byte acknowledged;

#define LIVE(x)	(state[x] == ASSIGNED || state[x] == PREPARING || state[x] == TRANSFERRING || state[x] == LOST || state[x] == PUBLISHING)
#define WORKS(x)	(state[x] == PREPARING || state[x] == TRANSFERRING || state[x] == LOST)
#define CURRENT(x)	(backup == ACTIVE && current == x && LIVE(x))
#define SAME_EPOCH(x)	(epoch_of[x] == epoch)
#define FENCED(x)	(CURRENT(x) && SAME_EPOCH(x))
#define THERE(x)	(!condemned[x] || variant == NO_VALIDATION)
#define MAY_HAND_IN(x)	((FENCED(x) && WORKS(x) && !asked_to_stop && THERE(x)) || \
			 (variant == NO_FENCE && state[x] != NONE) || \
			 (variant == NUMBER_FENCE && backup == ACTIVE && number == number_of[x] && WORKS(current)))

inline move(x, from, to) {
	assert(state[x] == from);	/* I5 */
	state[x] = to
}

inline ends(to) {
	assert(acknowledged == 0);	/* I4 */
	backup = to;
	current = 0
}

inline after_failure() {
	if
	:: asked_to_stop -> ends(CANCELED)
	:: !asked_to_stop -> ends(READY)	/* tried again */
	:: !asked_to_stop -> ends(FAILED)	/* for good, or once too often */
	fi
}

/* The leader's tick: places, and ends what is overdue. */
proctype Leader() {
	byte x;
end:	do
	:: atomic { backup == READY && ids < ATTEMPTS - 1 ->
		ids++; number++;
		number_of[ids] = number; epoch_of[ids] = epoch;
		state[ids] = ASSIGNED; current = ids; backup = ACTIVE }
	:: atomic { backup == READY -> ends(FAILED) }	/* RUN_TOO_LATE */
	:: atomic { backup == READY -> ends(CANCELED) }	/* an operator */
	:: atomic { backup == ACTIVE && current && !asked_to_stop -> asked_to_stop = true;
		x = current;
		if
		:: state[x] == ASSIGNED -> move(x, ASSIGNED, CANCELED); after_failure()
		:: else
		fi; x = 0 }
	:: atomic { backup == ACTIVE && current && state[current] != PUBLISHING ->
		x = current;
		if
		:: state[x] == ASSIGNED -> move(x, ASSIGNED, EXPIRED); ends(READY)
		:: state[x] == ASSIGNED -> move(x, ASSIGNED, ABANDONED); after_failure()	/* too long, rolled back */
		:: state[x] == PREPARING -> move(x, PREPARING, LOST)
		:: state[x] == PREPARING -> move(x, PREPARING, FAILED); after_failure()
		:: state[x] == PREPARING -> move(x, PREPARING, ABANDONED); after_failure()
		:: state[x] == TRANSFERRING -> move(x, TRANSFERRING, LOST)
		:: state[x] == TRANSFERRING -> move(x, TRANSFERRING, FAILED); after_failure()
		:: state[x] == TRANSFERRING -> move(x, TRANSFERRING, ABANDONED); after_failure()
		:: state[x] == LOST -> move(x, LOST, ABANDONED); after_failure()
		fi; x = 0 }
	od
}

/* One of the two hosts that may have the VM. It stops for ever, or for as long as it likes, wherever it is. */
proctype Host() {
	byte mine;
end:	do
	:: atomic { !mine && current && state[current] == ASSIGNED && FENCED(current) ->
		mine = current; move(mine, ASSIGNED, PREPARING) }
	:: atomic { mine && FENCED(mine) && state[mine] == PREPARING -> move(mine, PREPARING, TRANSFERRING) }
	:: atomic { mine && FENCED(mine) && state[mine] == LOST ->	/* it reports again: the same attempt goes on */
		if
		:: !uploaded[mine] -> move(mine, LOST, PREPARING)
		:: move(mine, LOST, TRANSFERRING)
		fi }
	:: mine && !uploaded[mine] -> uploaded[mine] = true	/* needs no leave of anybody */
	:: atomic { mine && uploaded[mine] && MAY_HAND_IN(mine) ->
		assert(current == mine);	/* I3 */
		if
		:: state[mine] == PREPARING -> move(mine, PREPARING, PUBLISHING)
		:: state[mine] == TRANSFERRING -> move(mine, TRANSFERRING, PUBLISHING)
		:: state[mine] == LOST -> move(mine, LOST, PUBLISHING)
		:: else -> skip
		fi;
		mine = 0 }
	:: atomic { mine && FENCED(mine) && state[mine] != PUBLISHING ->	/* it fails, or confirms that it stopped */
		if
		:: state[mine] == ASSIGNED -> move(mine, ASSIGNED, FAILED)
		:: state[mine] == PREPARING -> move(mine, PREPARING, FAILED)
		:: state[mine] == TRANSFERRING -> move(mine, TRANSFERRING, FAILED)
		:: state[mine] == LOST -> move(mine, LOST, FAILED)
		:: state[mine] == PREPARING && asked_to_stop -> move(mine, PREPARING, CANCELED)
		:: state[mine] == TRANSFERRING && asked_to_stop -> move(mine, TRANSFERRING, CANCELED)
		:: state[mine] == LOST && asked_to_stop -> move(mine, LOST, CANCELED)
		fi;
		after_failure(); mine = 0 }
	:: atomic { mine -> mine = 0 }	/* its process is gone, or it was told that it is fenced */
	od
}

/* Carries a validated point to its end. Repeats itself after a crash, which is why it keeps nothing. */
proctype Finisher() {
	byte x;
end:	do
	:: atomic { backup == ACTIVE && current && state[current] == PUBLISHING && !manifest ->
		x = current;
		assert(!swept[x]);	/* I2 */
		assert(!tombstone);	/* I6 */
		manifest = x; x = 0 }
	:: atomic { backup == ACTIVE && current && state[current] == PUBLISHING && manifest == current ->
		x = current;
		move(x, PUBLISHING, SUCCEEDED); backup = SUCCEEDED;
		assert(acknowledged == 0 || acknowledged == x);	/* I1 */
		acknowledged = x; x = 0 }
	:: atomic { backup == ACTIVE && current && state[current] == PUBLISHING && manifest != current ->
		x = current;	/* its place is taken, or the store refuses for good, or for too long */
		move(x, PUBLISHING, FAILED); ends(FAILED); x = 0 }
	od
}

/* An operator, or a policy: the point goes. It is told so once its tombstone lies in the bucket. */
proctype Forgetting() {
end:	do
	:: atomic { backup == SUCCEEDED && manifest && acknowledged == manifest -> tombstone = true; manifest = 0; acknowledged = 0 }
	od
}

/* Collection: what nobody needs is condemned in a transaction and told in a log, in the lead still; a DELETE arrives whenever it likes. */
proctype Collection() {
	byte x = 1, then;
end:	do
	:: atomic { !chosen && uploaded[x] && !condemned[x] && manifest != x && (!CURRENT(x) || variant == SWEEPS_OPEN) ->
		condemned[x] = true; chosen = x; then = term }
	:: atomic { chosen && !logged && (then == term || variant == SWEEPS_ON) -> logged = true }
	:: atomic { chosen && logged ->
		assert(manifest != chosen);	/* I2 */
		swept[chosen] = true; chosen = 0; logged = false; then = 0 }
	:: atomic { chosen && !logged && then != term && variant != SWEEPS_ON -> chosen = 0; then = 0 }
	:: atomic { !chosen -> x = (x < ATTEMPTS - 1 -> x + 1 : 1) }
	od
}

/* What each leader does first, noticed or not. */
inline recover(noticed) {
	x = 1; do :: x < ATTEMPTS -> condemned[x] = condemned[x] || swept[x] || (logged && chosen == x); x++ :: else -> break od; x = 0;
	if
	:: manifest -> backup = SUCCEEDED; current = manifest; state[manifest] = SUCCEEDED	/* taken over from the bucket */
	:: tombstone && backup == READY && variant != NO_TOMBSTONES -> ends(FAILED)
	:: tombstone && backup == ACTIVE && variant != NO_TOMBSTONES ->
		x = current;
		if
		:: state[x] == ASSIGNED -> move(x, ASSIGNED, FAILED)
		:: state[x] == PREPARING -> move(x, PREPARING, FAILED)
		:: state[x] == TRANSFERRING -> move(x, TRANSFERRING, FAILED)
		:: state[x] == LOST -> move(x, LOST, FAILED)
		:: state[x] == PUBLISHING -> move(x, PUBLISHING, FAILED)
		fi;
		ends(FAILED)
	:: !manifest && !tombstone && backup == ACTIVE && state[current] == PUBLISHING && condemned[current] &&
	   variant != NO_SECOND_LOOK && (noticed || variant != LOOK_IF_NOTICED) ->
		x = current; move(x, PUBLISHING, FAILED); ends(FAILED)
	:: else
	fi
}

/* An older copy of the database takes its place: a failover that lost transactions, or a file that somebody put back. */
proctype Failover() {
	byte x;
	bool noticed;
end:	do
	:: atomic { copies < COPIES -> copies++;
		copied_backup = backup; copied_current = current; copied_number = number; copied_asked = asked_to_stop;
		x = 1; do :: x < ATTEMPTS -> copied_state[x] = state[x]; copied_condemned[x] = condemned[x]; x++ :: else -> break od; x = 0 }
	:: atomic { rollbacks < ROLLBACKS -> rollbacks++; term++;
		if
		:: epoch++; noticed = true
		:: noticed = false	/* its own leader outlived the copy: the next number is free */
		fi;
		backup = copied_backup; current = copied_current; number = copied_number; asked_to_stop = copied_asked;
		x = 1; do :: x < ATTEMPTS -> state[x] = copied_state[x]; condemned[x] = copied_condemned[x]; x++ :: else -> break od;
		if
		:: variant == NO_RECOVERY -> skip
		:: else -> recover(noticed)
		fi; x = 0; noticed = false }
	od
}

init {
	atomic {
		c_code { const char *text = getenv("LEASE_VARIANT"); now.variant = text ? atoi(text) : 0; };
		run Leader(); run Host(); run Host(); run Finisher(); run Forgetting(); run Collection(); run Failover()
	}
}
