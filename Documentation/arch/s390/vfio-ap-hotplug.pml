/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hot-plug protocol of vfio_ap (state.rs, guest.rs, reset.rs), for spin: one
 * queue, two mediated devices with a guest each, and everybody who may change what a
 * guest has, all at the same time.  Checked in every state that they can reach:
 *
 * - the queue is in the masks of one guest at most;
 * - a guest that uses it finds nothing of the host or of the other guest in it;
 * - there is always somebody who can go on.
 *
 * Who may change which mask when:
 *
 * - The masks of a guest (apcb) are changed with "guests" and with the lock of that
 *   VM held, and by commit() and close alone.  The lock of the VM is left out here,
 *   as is ap_attr_mutex: in this part of the driver neither is taken without "guests"
 *   as well, and the order of locks is checked by the compiler (make check).
 * - What is assigned changes with "guests" held, and is committed before that is
 *   given up.
 * - How clean the queue is changes with "tables" held, which is innermost and never
 *   kept; here, what is done under it is one atomic step.
 * - A queue that leaves is out of the masks before its reset begins, and what is not
 *   clean is in no guest's masks.
 * - What a guest may have of the queue is computed anew only if something that it
 *   depends on has changed since.
 *
 * scripts/protocol checks this file, and with each of BROKEN=1 to 4 that it is
 * refuted.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define NOBODY	2
#define HOST	3

/* What is known of the queue, as in reset.rs */
mtype = { Clean, Running, InPlace, Failed };

bool guests;				/* the lock */

/* The tables */
byte owner = NOBODY;			/* the mediated device it is assigned to */
bool bound, unbinding;
bool there = true;			/* in the host's configuration */
bool scanning;
mtype reset = Failed;
bool session[2], requested[2], plugged[2], effective[2], stale[2];

/* Hardware */
bool apcb[2];				/* the guests' masks */
byte content = HOST;			/* whose keys and messages are in the queue */
bool resetting;

inline unlock() { guests = false }

/* Of the queue a guest may have what is clean, or is being reset where it is. */
#if BROKEN == 1
#define fit(state)	(state != Running)		/* C5: failed is good enough */
#else
#define fit(state)	(state == Clean || state == InPlace)
#endif
#define passable()	(bound && !unbinding && fit(reset))

inline tell_owner()
{
	if
	:: owner == 0 -> stale[0] = true
	:: owner == 1 -> stale[1] = true
	:: else
	fi
}

inline set_reset(new)
{
	if
	:: bound && !unbinding && fit(reset) != fit(new) -> tell_owner()
	:: else
	fi;
	reset = new
}

/* Tables held: the request is accepted, refused, or one from before is under way. */
inline start_reset(how)
{
	if
	:: bound && !resetting -> set_reset(how); resetting = true
	:: bound && !resetting -> set_reset(Failed)
	:: bound && resetting -> set_reset(how)	/* or fails, which look() decides */
	:: else
	fi
}

/* Tables held: a look at a reset that is under way. */
inline look()
{
	if
	:: bound && (reset == Running || reset == InPlace) ->
		if
		:: !resetting -> set_reset(Clean)
		:: resetting -> set_reset(Failed)	/* it took too long */
		fi
	:: else
	fi
}

/* "guests" held: the guest of mediated device i is brought up to date. */
inline commit(i)
{
	atomic {
		if
		:: stale[i] -> effective[i] = (owner == i && there && passable()); stale[i] = false
		:: else
		fi;
		was = plugged[i];
		plugged[i] = (session[i] && effective[i] && !requested[i]);
#if BROKEN == 2
		if
		:: was && !plugged[i] -> start_reset(Running)	/* while the guest can still use it */
		:: else
		fi
#endif
	}
	if
	:: was != plugged[i] ->
		apcb[i] = plugged[i];
		assert(!(apcb[0] && apcb[1]));
#if BROKEN != 2
		atomic {
			if
			:: was -> start_reset(Running)
			:: else
			fi
		}
#endif
	:: else
	fi;
	was = false
}

/* "guests" held */
inline commit_stale()
{
	do
	:: !scanning && stale[0] -> commit(0)
	:: !scanning && stale[1] -> commit(1)
	:: else -> break
	od
}

/*
 * Nobody here waits for a reset before it goes on, as they do in the driver: what
 * holds without that holds with it.
 */

/* A write to assign_... or unassign_... or ap_config */
proctype Administrator()
{
	bool was;
	byte old = NOBODY;

	do
	:: atomic {
#if BROKEN != 3
		!guests -> guests = true;
#endif
		old = owner;
		/* Whoever has it has to give it up first. */
		if
		:: owner == NOBODY -> owner = 0
		:: owner == NOBODY -> owner = 1
		:: owner != NOBODY -> tell_owner(); owner = NOBODY
		fi;
		tell_owner()
	   };
	   if
	   :: old == 0 -> commit(0)
	   :: old == 1 -> commit(1)
	   :: old == NOBODY && owner == 0 -> commit(0)
	   :: old == NOBODY && owner == 1 -> commit(1)
	   :: else
	   fi;
	   atomic {
		old = NOBODY;
#if BROKEN != 3
		unlock()
#endif
	   }
	od
}

/* The user of a mediated device: open, reset, asked to give it back, close */
proctype Vmm(byte i)
{
	bool was;

	do
	:: atomic {
		!guests && !session[i] -> guests = true;
		session[i] = true;
		requested[i] = false;
		if
		:: owner == i && bound && reset == Failed -> start_reset(Running)
		:: else
		fi
	   };
	   commit(i);
	   unlock()
	:: atomic { plugged[i] && reset == Clean -> start_reset(InPlace) }
	:: atomic { !guests && session[i] && !requested[i] -> guests = true; requested[i] = true };
	   commit(i);
	   unlock()
	:: atomic { !guests && session[i] -> guests = true; apcb[i] = false };
	   atomic {
		if
		:: plugged[i] -> start_reset(Running)
		:: else
		fi;
		plugged[i] = false;
		session[i] = false;
		requested[i] = false;
		stale[i] = true;
		unlock()
	   }
	od
}

/* The AP bus: the queue changes between its drivers */
proctype Binder()
{
	bool was;

	do
	:: atomic { !bound && !resetting && content != HOST -> content = HOST }
	:: atomic {
		!guests && !bound -> guests = true;
		bound = true;
		unbinding = false;
#if BROKEN == 4
		set_reset(Clean)		/* without a reset */
#else
		start_reset(Running)
#endif
	   };
	   commit_stale();
	   unlock()
	:: atomic {
		!guests && bound -> guests = true;
		if
		:: passable() -> tell_owner()
		:: else
		fi;
		unbinding = true
	   };
	   if
	   :: owner == 0 && plugged[0] -> commit(0)
	   :: owner == 1 && plugged[1] -> commit(1)
	   :: else ->
		/* What the host has lost was asked for its reset when it left its guest. */
		atomic {
			if
			:: there -> start_reset(Running)
			:: else
			fi
		};
		commit_stale()
	   fi;
	   atomic { bound = false; unbinding = false; reset = Failed; unlock() }
	od
}

/* The AP bus: the host's configuration loses the queue, and gets it again */
proctype Scan()
{
	bool was;

	do
	:: atomic {
		!guests && there -> guests = true;
		there = false; scanning = false; stale[0] = true; stale[1] = true
	   };
	   commit_stale();
	   atomic { scanning = true; unlock() }
	:: atomic {
		!guests && !there -> guests = true;
		there = true; scanning = false; stale[0] = true; stale[1] = true
	   };
	   commit_stale();
	   unlock()
	od
}

/* The work item */
proctype Worker()
{
	bool was;

	do
	:: atomic { reset == Running || reset == InPlace -> look() }
	:: atomic { !guests && !scanning && (stale[0] || stale[1]) -> guests = true };
	   commit_stale();
	   unlock()
	od
}

/* Hardware ends a reset: all that was in the queue is gone. */
proctype Reset()
{
end:
	do
	:: atomic { resetting -> content = NOBODY; resetting = false }
	od
}

/* A guest runs, and uses what its masks let it have; during a reset hardware refuses. */
proctype Guest(byte i)
{
end:
	do
	:: atomic {
		apcb[i] && !resetting ->
		assert(content == NOBODY || content == i);
		content = i
	   }
	od
}

init
{
	atomic {
		run Administrator();
		run Vmm(0);
		run Vmm(1);
		run Binder();
		run Scan();
		run Worker();
		run Reset();
		run Guest(0);
		run Guest(1)
	}
}
