package wire_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"viaduct/clock"
	"viaduct/wire"
)

// The tests of this file run in bubbles, in which time passes when nothing else
// happens, and costs nothing.

// bubbled is a connection in memory. The time of a bubble is long before that
// of the process, so that what the clock takes for the past is none here.
type bubbled struct{ net.Conn }

func (b bubbled) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		t = time.Now()
	}
	return b.Conn.SetDeadline(t)
}

// piped makes a connection in memory.
func piped(t *testing.T) (c *wire.Conn, far net.Conn) {
	near, far := net.Pipe()
	t.Cleanup(func() { far.Close() })
	return open(t, bubbled{near}), far
}

// elapse lets time pass.
func elapse(d time.Duration) { <-time.After(d) }

// takes wants f to take exactly d.
func takes(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	if f(); time.Since(began) != d {
		t.Errorf("took %v, want %v", time.Since(began), d)
	}
}

// ends wants reading to end with a limit after exactly d.
func ends(t *testing.T, c *wire.Conn, d time.Duration) {
	t.Helper()
	takes(t, d, func() {
		t.Helper()
		if err := c.FillBody(); !isDeadline(err) || !c.Aborted() {
			t.Errorf("%v, aborted %v", err, c.Aborted())
		}
	})
}

func TestLimitEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.LimitRead(clock.Now(), time.Hour)
		ends(t, c, time.Hour)
		ends(t, c, 0) // and every wait after it
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.LimitWrite(clock.Now(), time.Hour)
		takes(t, time.Hour, func() {
			if _, err := c.Write([]byte("x")); !isDeadline(err) || !c.Aborted() {
				t.Errorf("%v, aborted %v", err, c.Aborted())
			}
		})
	})
}

// TestLimitsAreTheLatestOnes: a limit that was moved or lifted does not hold,
// whatever the timer was armed for.
func TestLimitsAreTheLatestOnes(t *testing.T) {
	type step struct {
		write    bool
		limit    time.Duration // 0 lifts
		thenWait time.Duration
	}
	for name, c := range map[string]struct {
		steps []step
		want  time.Duration // after the last step
	}{
		"shorter after longer":       {[]step{{false, time.Hour, 0}, {false, time.Minute, 0}}, time.Minute},
		"longer after shorter":       {[]step{{false, time.Minute, 0}, {false, time.Hour, 0}}, time.Hour},
		"moved on and on":            {[]step{{false, time.Minute, 59 * time.Second}, {false, time.Minute, 59 * time.Second}, {false, time.Minute, 59 * time.Second}, {false, time.Minute, 0}}, time.Minute},
		"lifted, and set anew":       {[]step{{false, time.Minute, 0}, {false, 0, time.Hour}, {false, time.Second, 0}}, time.Second},
		"write before read":          {[]step{{false, time.Hour, 0}, {true, time.Minute, 0}}, time.Minute},
		"read before write":          {[]step{{true, time.Hour, 0}, {false, time.Minute, 0}}, time.Minute},
		"write lifted, read remains": {[]step{{true, time.Minute, 0}, {false, time.Hour, 0}, {true, 0, 0}}, time.Hour},
		"both moved while waiting":   {[]step{{true, time.Minute, 30 * time.Second}, {false, time.Minute, 15 * time.Second}, {true, time.Hour, 0}}, 45 * time.Second},
		"read, long after":           {[]step{{false, time.Minute, 0}, {false, 0, 5 * time.Minute}, {false, time.Minute, 0}}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, _ := piped(t)
				for _, s := range c.steps {
					if s.write {
						conn.LimitWrite(clock.Now(), s.limit)
					} else {
						conn.LimitRead(clock.Now(), s.limit)
					}
					if elapse(s.thenWait); conn.Aborted() {
						t.Fatalf("aborted after %+v", s)
					}
				}
				ends(t, conn, c.want)
			})
		})
	}
}

func TestLiftedLimitsNeverPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.LimitRead(clock.Now(), time.Minute)
		c.LimitWrite(clock.Now(), time.Minute)
		c.LimitRead(0, 0)
		c.LimitWrite(0, -1)
		if elapse(time.Hour); c.Aborted() {
			t.Error("aborted")
		}
	})
}

func TestLimitReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.LimitReadOnce(clock.Now(), 0)
		c.LimitReadOnce(clock.Now(), time.Hour)
		c.LimitReadOnce(clock.Now(), time.Minute)
		ends(t, c, time.Hour)
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.LimitRead(clock.Now(), time.Hour)
		c.LimitReadOnce(clock.Now(), 2*time.Hour)
		ends(t, c, time.Hour)
	})
}

// TestRevivedConnectionWorks: limits of before are forgotten, new ones hold.
func TestRevivedConnectionWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		c.LimitWrite(clock.Now(), 2*time.Minute)
		c.LimitRead(clock.Now(), time.Minute)
		ends(t, c, time.Minute)
		if c.Revive(); c.Aborted() {
			t.Error("aborted")
		}
		go io.Copy(io.Discard, far)
		c.BeginWait(clock.Now(), time.Hour) // the clock looks at its limits at every beat
		if elapse(time.Hour); c.Aborted() || !c.EndWait() {
			t.Error("ended by a limit of before")
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		c.LimitRead(clock.Now(), time.Minute)
		ends(t, c, time.Minute)
	})
}

func TestAbortEndsAWaitUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		time.AfterFunc(time.Hour, c.Abort)
		ends(t, c, time.Hour)
		c.Abort()
		c.Revive()
		c.Revive()
		time.AfterFunc(time.Hour, c.Abort)
		ends(t, c, time.Hour)
	})
}

// TestStoppedClockDoesNothing: a connection that was closed or handed over has
// no limits.
func TestStoppedClockDoesNothing(t *testing.T) {
	for name, stop := range map[string]func(*wire.Conn){
		"closed":   func(c *wire.Conn) { c.Close() },
		"detached": func(c *wire.Conn) { c.Detach() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := piped(t)
				c.OnGone(func() { t.Error("gone") })
				c.OnIdle(func() { t.Error("idle") })
				fresh, _ := piped(t)
				stop(fresh)
				fresh.LimitRead(clock.Now(), time.Minute)
				c.LimitRead(clock.Now(), time.Minute)
				c.BeginWait(clock.Now(), 0)
				stop(c)
				c.LimitWrite(clock.Now(), time.Minute)
				c.BeginWait(clock.Now(), 0)
				if elapse(time.Hour); c.Aborted() || fresh.Aborted() {
					t.Error("aborted")
				}
			})
		})
	}
}

func TestDetachedConnectionIsTheOneThatWasGiven(t *testing.T) {
	near, _ := loopback(t)
	c := open(t, near)
	if nc := c.Detach(); nc != near || c.NetConn() != near {
		t.Error("another connection")
	}
}

// TestWaitWithoutTCPEndsWithEndWait: of a connection that is none of the
// kernel's it cannot be told whether the client has left.
func TestWaitWithoutTCPEndsWithEndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := piped(t)
		c.OnGone(func() { t.Error("gone") })
		c.BeginWait(clock.Now(), time.Second)
		far.Close()
		if elapse(time.Hour); !c.EndWait() || c.EndWait() {
			t.Error("the wait did not end once")
		}
	})
}

// TestLimitsHoldWhileTheClientWaits: the beat of the wait does not put a limit
// off, nor does its end.
func TestLimitsHoldWhileTheClientWaits(t *testing.T) {
	for _, limit := range []time.Duration{500 * time.Millisecond, time.Second, 2500 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := piped(t)
			c.BeginWait(clock.Now(), time.Second)
			c.LimitRead(clock.Now(), limit)
			ends(t, c, limit)
		})
		synctest.Test(t, func(t *testing.T) {
			c, _ := piped(t)
			c.LimitRead(clock.Now(), limit+time.Minute)
			c.BeginWait(clock.Now(), time.Second)
			elapse(30 * time.Second)
			c.EndWait()
			elapse(30 * time.Second)
			ends(t, c, limit)
		})
	}
}

func TestCutEndsTheConnectionAndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		gone := 0
		c.OnGone(func() { gone++ })
		c.BeginWait(clock.Now(), time.Hour)
		c.Cut()
		c.Cut()
		if gone != 1 || !c.Aborted() || c.EndWait() {
			t.Errorf("gone %d times, aborted %v", gone, c.Aborted())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := piped(t)
		c.OnGone(func() { t.Error("gone, though nobody waited") })
		c.BeginWait(clock.Now(), time.Hour)
		c.EndWait()
		if c.Cut(); !c.Aborted() {
			t.Error("not aborted")
		}
	})
}
