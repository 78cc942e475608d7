package relay

import (
	"net"
	"time"
)

// Connections come without keep-alive: most tunnels end before it would matter.
// One that lives gets it, so that a peer that has vanished is noticed.
const (
	keepAfter = 10 * time.Second
	never     = time.Duration(1 << 62)
)

// tick is the tunnel's timer. It is moved when it fires, not when bytes move.
func (t *tunnel) tick() {
	t.state.Lock()
	running, ending := t.running > 0, t.ending
	if running && !ending {
		t.check(t.now())
	}
	t.state.Unlock()
	switch {
	case !running:
		t.finish()
	case ending:
		_ = guard(t.closeDeaf)
	}
}

// check cuts the tunnel if a bound is reached, else sets the timer anew.
func (t *tunnel) check(now time.Duration) {
	if now >= keepAfter && !t.alive {
		t.alive = true
		t.keepAlive()
	}
	last := t.stirred.Load()
	bound, err := t.silence()
	switch {
	case t.bounds.Life > 0 && now >= t.bounds.Life:
		t.cutLocked(ErrLife)
		return
	case now-time.Duration(last) < bound:
	case t.trickles():
		// The peer may be slow, not silent: that will show in a while.
		t.stirred.CompareAndSwap(last, int64(now-bound*3/4))
	default:
		t.cutLocked(err)
		return
	}
	t.timer.Reset(t.wait(now))
}

// wait is how long nothing has to be looked at.
func (t *tunnel) wait(now time.Duration) time.Duration {
	bound, _ := t.silence()
	next := bound - (now - time.Duration(t.stirred.Load()))
	if t.bounds.Life > 0 {
		next = min(next, t.bounds.Life-now)
	}
	if !t.alive {
		next = min(next, keepAfter-now)
	}
	return max(next, 0)
}

// silence is how long the tunnel may be silent, and what it is cut for then.
func (t *tunnel) silence() (time.Duration, error) {
	bound, err := never, error(nil)
	if t.bounds.Idle > 0 {
		bound, err = t.bounds.Idle, ErrIdle
	}
	if t.running == 1 && t.bounds.HalfClose > 0 && t.bounds.HalfClose < bound {
		bound, err = t.bounds.HalfClose, ErrHalfClose
	}
	return bound, err
}

// trickles is true if a peer has acknowledged bytes since the last check: a
// socket has room for minutes of what a slow peer reads, and we none to move.
func (t *tunnel) trickles() bool {
	n := 0
	for _, c := range t.ends() {
		if s := socket(c); s != nil {
			n += unsent(s)
		}
	}
	before := t.unsent
	t.unsent = n
	return n != before && n > 0
}

func (t *tunnel) keepAlive() {
	for _, c := range t.ends() {
		if s := socket(c); s != nil {
			_ = s.SetKeepAliveConfig(net.KeepAliveConfig{
				Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
			})
		}
	}
}
