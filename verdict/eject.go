package verdict

import (
	"cmp"
	"time"

	"viaduct/lb"
)

// Ejection says when errors of requests take an endpoint out, and for how long.
// Zero values are the defaults.
type Ejection struct {
	Errors int           // in a row; 0 is 5
	Base   time.Duration // of an ejection, times how many there were; 0 is 30 s
	Most   time.Duration // 0 is 300 s
	Share  float64       // of the endpoints that may be ejected, the next one counted; 0 is 0.5, negative is none
	Heal   time.Duration // a time without ejection that forgives one; 0 is 10 s
}

// Fill puts the defaults in.
func (r *Ejection) Fill() {
	r.Errors = cmp.Or(max(r.Errors, 0), 5)
	r.Base = cmp.Or(max(r.Base, 0), 30*time.Second)
	r.Most = cmp.Or(max(r.Most, 0), 300*time.Second)
	r.Share = cmp.Or(r.Share, 0.5)
	r.Heal = cmp.Or(max(r.Heal, 0), 10*time.Second)
}

// Due tells whether the n-th error in a row is one to eject for. Where the caps
// forbid an ejection, it is not asked for at each error.
func (r *Ejection) Due(n int) bool { return n%r.Errors == 0 }

// Allows holds the caps, for the ejection about to happen: never more than the
// share, and never the last endpoint that takes new requests.
func (r *Ejection) Allows(t Tally, p Part) bool {
	if p.Ready && t.Ready <= 1 {
		return false
	}
	return float64(t.Ejected+1) <= r.Share*float64(t.Used)
}

// Outlier is the fact that requests make of an endpoint, and the times of what
// comes next: ejected, then on trial, then fine again and by and by forgiven. Its
// owner calls what the state allows.
type Outlier struct {
	Passive    Passive
	Until      time.Duration // the end of the ejection, by the caller's clock
	Ejections  int           // in a row; each healthy interval forgives one
	PassiveWhy string        // what the requests found

	since time.Duration // of the last ejection
	heals time.Duration // when one is forgiven
	trial time.Duration // when the trial began
	again time.Duration // when another request is tried
}

// Eject takes an endpoint out for a time that grows with how often it was. So
// that not all come back together, it varies by a tenth with unit, a number in
// [0,1).
func (o *Outlier) Eject(r *Ejection, now time.Duration, unit float64, why string) {
	o.Ejections++
	last := min(float64(r.Base)*float64(o.Ejections), float64(r.Most))
	o.out(now, now+time.Duration(last*(0.9+0.2*unit)), why)
}

func (o *Outlier) out(now, until time.Duration, why string) {
	o.Passive, o.Until, o.PassiveWhy, o.since = Ejected, until, Tidy(why), now
}

// Resume takes up what was known before a restart: how many ejections there
// were.
func (o *Outlier) Resume(r *Ejection, now time.Duration, ejections int) {
	o.Ejections, o.heals = ejections, now+r.Heal
}

// ResumeOut goes on with the ejection that a restart interrupted, for what was
// left of its time.
func (o *Outlier) ResumeOut(now, left time.Duration, why string) {
	o.out(now, now+max(left, 0), why)
}

// After tells whether something began after the last ejection.
func (o *Outlier) After(began time.Duration) bool { return began >= o.since }

// Release ends the time of an ejection. The next request is a trial, the only
// one until it has told.
func (o *Outlier) Release(r *Ejection, now time.Duration) {
	o.Passive, o.Until, o.trial = Probing, 0, now
	o.Retry(r, now)
}

// Retry begins the time of another trial, after one that has told nothing.
func (o *Outlier) Retry(r *Ejection, now time.Duration) { o.again = now + r.Base }

// Again is when a trial has said nothing for so long that another one is due,
// and whether there is one: a tunnel that lives for a day must not hold its
// endpoint out for that day.
func (o *Outlier) Again() (at time.Duration, some bool) { return o.again, o.Passive == Probing }

// Stale tells whether a request that ends in a trial began before it. Then it
// says nothing.
func (o *Outlier) Stale(began time.Duration) bool { return began < o.trial }

// Forgive gives an endpoint all its requests again. Its ejections are forgotten
// by and by.
func (o *Outlier) Forgive(r *Ejection, now time.Duration) {
	o.Passive, o.Until, o.PassiveWhy, o.heals = Fine, 0, "", now+r.Heal
}

// Heal forgets one ejection.
func (o *Outlier) Heal(r *Ejection) {
	o.Ejections--
	o.heals += r.Heal
}

// Ends is when the ejection does, and whether there is one.
func (o *Outlier) Ends() (at time.Duration, some bool) { return o.Until, o.Passive == Ejected }

// Heals is when the next ejection is forgotten, and whether there is one to
// forget.
func (o *Outlier) Heals() (at time.Duration, some bool) {
	return o.heals, o.Passive == Fine && o.Ejections > 0
}

// Tally counts the endpoints of a pool, for the caps.
type Tally struct{ Used, Ready, Ejected, Probing int }

// Part is what one endpoint adds to the tally.
type Part struct {
	Used    bool // may get requests, in panic at least
	Ready   bool // takes new ones
	Ejected bool
	Probing bool // is ready, and on trial
}

// Part is what an endpoint with these facts adds. A weightless one takes
// nothing new, whatever its standing.
func (f Facts) Part(s lb.Standing, weightless bool) Part {
	used, ready := s != lb.Out, s == lb.Ready && !weightless
	return Part{Used: used, Ready: ready, Ejected: used && f.Passive == Ejected, Probing: ready && f.Passive == Probing}
}

// Replace counts what an endpoint adds now instead of what it added before.
func (t *Tally) Replace(before, now Part) {
	t.add(before, -1)
	t.add(now, 1)
}

func (t *Tally) add(p Part, n int) {
	for _, c := range []struct {
		yes   bool
		count *int
	}{{p.Used, &t.Used}, {p.Ready, &t.Ready}, {p.Ejected, &t.Ejected}, {p.Probing, &t.Probing}} {
		if c.yes {
			*c.count += n
		}
	}
}

// Lone tells whether only trials are left to take requests.
func (t *Tally) Lone() bool { return t.Probing > 0 && t.Ready == t.Probing }

// Stuck tells whether nothing takes requests while something is ejected.
func (t *Tally) Stuck() bool { return t.Ready == 0 && t.Ejected > 0 }
