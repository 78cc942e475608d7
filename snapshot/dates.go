package snapshot

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// date is when the certificates of a file hold.
type date struct {
	option, file string
	certs        []*x509.Certificate
	fate         string // of those that do not hold
}

// soon is how long before a certificate ends that is remarked upon.
const soon = 14 * 24 * time.Hour

// remarks are about certificates that do not hold now, or not for long.
func (d *date) remarks(now time.Time) (all []string) {
	for _, c := range d.certs {
		what := fmt.Sprintf("%s: %s", d.option, d.file)
		if len(d.certs) > 1 {
			what += fmt.Sprintf(": %.64q in it", c.Subject.CommonName)
		}
		switch left := c.NotAfter.Sub(now); {
		case left < 0:
			all = append(all, fmt.Sprintf("%s ended on %s: %s", what, day(c.NotAfter), d.fate))
		case now.Before(c.NotBefore):
			all = append(all, fmt.Sprintf("%s begins on %s only: %s before", what, day(c.NotBefore), d.fate))
		case left < 24*time.Hour:
			all = append(all, fmt.Sprintf("%s ends on %s, within a day", what, day(c.NotAfter)))
		case left < 48*time.Hour:
			all = append(all, fmt.Sprintf("%s ends on %s, in a day", what, day(c.NotAfter)))
		case left < soon:
			all = append(all, fmt.Sprintf("%s ends on %s, in %d days", what, day(c.NotAfter), left/(24*time.Hour)))
		}
	}
	return all
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// ends is when the first of them does, and last when all have.
func (d *date) ends() time.Time { return slices.MinFunc(d.certs, byEnd).NotAfter }
func (d *date) last() time.Time { return slices.MaxFunc(d.certs, byEnd).NotAfter }

func byEnd(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }

// lapsed is an error about a file whose certificates have ended, and which had
// some before that have not.
func lapsed(before, now []date) error {
	at := time.Now()
	for _, d := range now {
		held := slices.ContainsFunc(before, func(o date) bool { return o.file == d.file && o.last().After(at) })
		if held && d.last().Before(at) {
			return fmt.Errorf("%s: %s ended on %s", d.option, d.file, day(d.last()))
		}
	}
	return nil
}

func (s *secured) dates() []date {
	return slices.Concat(s.tls.dates, s.authority.dates, s.roots.dates)
}

// Certificates are when those in use end, by file: the first of them, where there
// are more in it.
func (s *Snapshot) Certificates() map[string]time.Time {
	all := map[string]time.Time{}
	for _, w := range s.Ways {
		for _, d := range w.parents.dates {
			all[d.file] = d.ends()
		}
	}
	for _, e := range s.Entries {
		for _, d := range e.secured.dates() {
			all[d.file] = d.ends()
		}
	}
	return all
}
