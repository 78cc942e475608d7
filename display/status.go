package display

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"viaduct/pool"
)

// Status writes how pools and their endpoints are.
func Status(out io.Writer, version string, pools []pool.View) error {
	var b strings.Builder
	b.WriteString("viaduct " + Plain(version) + "\n")
	if len(pools) == 0 {
		b.WriteString("no pools: every request goes out directly\n")
	}
	for i := range pools {
		b.WriteByte('\n')
		writeView(&b, &pools[i])
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// writeView writes a pool: its counts, and below them its endpoints.
func writeView(b *strings.Builder, p *pool.View) {
	fmt.Fprintf(b, "pool %s: %s, %d in flight", Plain(p.Name), Plain(p.Balance), p.InFlight)
	if p.Waiting > 0 {
		fmt.Fprintf(b, ", %d waiting", p.Waiting)
	}
	fmt.Fprintf(b, "; retries %d, refused %d, left %d; hedges %d\n", p.Retries.Taken, p.Retries.Refused, p.Retries.Left, p.Hedges)
	if text := guards(p); text != "" {
		b.WriteString("  guards: " + text + "\n")
	}
	if text := counts(p.Unavailable); text != "" {
		b.WriteString("  without a way out: " + text + "\n")
	}
	if len(p.Endpoints) == 0 {
		b.WriteString("  no endpoints\n")
		return
	}
	t := table{left: 2, wide: 39}
	t.row([]string{"ENDPOINT", "STATE", "WEIGHT", "BUSY", "REQUESTS", "FAILED", "LATENCY", "RESTS"})
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		t.row([]string{
			Plain(e.ID), Plain(e.Standing), strconv.FormatUint(uint64(e.Weight), 10), busy(e), strconv.FormatUint(e.Picks, 10),
			strconv.FormatUint(e.Failures, 10), took(e.Cost), rests(e),
		}, append([]string{facts(e)}, reasons(e)...)...)
	}
	t.write(b)
}

// guards are those that are on, with what they have refused.
func guards(p *pool.View) string {
	var all []string
	for _, g := range []struct {
		name string
		*pool.GuardView
	}{{"requests", &p.Requests}, {"connects", &p.Pending}, {"adaptive", p.Adaptive}} {
		if g.GuardView != nil && (g.Limit > 0 || g.Refused > 0) {
			all = append(all, fmt.Sprintf("%s %d/%d, refused %d", g.name, g.InUse, g.Limit, g.Refused))
		}
	}
	if t := p.Throttle; t != nil {
		all = append(all, fmt.Sprintf("throttle %.0f%%, refused %d", t.Chance*100, t.Refused))
	}
	return strings.Join(all, "; ")
}

// counts are those above zero, by their names.
func counts(of map[string]uint64) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if n := of[name]; n > 0 {
			all = append(all, fmt.Sprintf("%s %d", Plain(name), n))
		}
	}
	return strings.Join(all, ", ")
}

// busy is how many requests an endpoint has, and how many it may have.
func busy(e *pool.EndpointView) string {
	if e.Limit <= 0 {
		return strconv.Itoa(e.InFlight)
	}
	return fmt.Sprintf("%d/%d", e.InFlight, e.Limit)
}

// rests is for how many destinations an endpoint is not used.
func rests(e *pool.EndpointView) string {
	if e.RestsEverywhere {
		return "all"
	}
	return strconv.Itoa(e.Resting)
}

// facts are the five from which it follows whether an endpoint is used.
func facts(e *pool.EndpointView) string {
	text := fmt.Sprintf("admin %-5s  discovery %-8s  checks %-7s  requests %-7s  capacity %s",
		Plain(e.Admin), Plain(e.Discovery), Plain(e.Active), Plain(e.Passive), capacity(e))
	if e.Tier != 0 {
		text += fmt.Sprintf("  tier %d", e.Tier)
	}
	if e.Zone != "" {
		text += "  zone " + Plain(e.Zone)
	}
	return text
}

// capacity is the fifth fact: full, free, or how much of its weight one has that starts
// slowly.
func capacity(e *pool.EndpointView) string {
	switch {
	case e.Limit > 0 && e.InFlight >= e.Limit:
		return "full"
	case e.Part > 0 && e.Part < 1:
		return fmt.Sprintf("%.0f%%", e.Part*100)
	}
	return "free"
}

// reasons are why an endpoint is as it is, where that is not as it should be.
func reasons(e *pool.EndpointView) []string {
	var all []string
	say := func(when bool, text string) {
		if text = Plain(text); when && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	say(e.Reason != "", e.Reason)
	for i := range e.Checks {
		c := &e.Checks[i]
		say(c.Error != "" && !strings.Contains(e.Reason, c.Error), "check "+c.Check+": "+c.Error)
		say(c.State == "falling", fmt.Sprintf("check %s: failed %d of %d times", c.Check, c.Streak, c.Needed))
	}
	say(e.Passive == "ejected" && !e.Ends.IsZero(), "ejected until "+e.Ends.Local().Format(time.TimeOnly))
	say(e.Passive == "probing", "one request at a time, until one has told how it is")
	say(e.Errors > 1, fmt.Sprintf("%d errors in a row", e.Errors))
	return all
}
