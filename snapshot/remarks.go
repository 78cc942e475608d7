package snapshot

import (
	"fmt"
	"time"
)

// Remarks are what is taken as it stands, and may not be what the operator wanted:
// lines that say nothing, names that nobody has, rules that only rehearse,
// certificates that have ended.
func (s *Snapshot) Remarks() []string {
	var all []string
	for _, c := range s.Conf.Pools {
		p := &s.Ways[c.Name].parents
		for _, d := range p.dates {
			for _, remark := range d.remarks(time.Now()) {
				all = append(all, fmt.Sprintf("pools.%s: %s", c.Name, remark))
			}
		}
	}
	for i, e := range s.Entries {
		for _, remark := range e.Policy.Remarks() {
			all = append(all, fmt.Sprintf("forward[%d]: %s", i, remark))
		}
		for _, remark := range e.secured.tls.notes {
			all = append(all, fmt.Sprintf("forward[%d]: %s", i, remark))
		}
		for _, d := range e.secured.dates() {
			for _, remark := range d.remarks(time.Now()) {
				all = append(all, fmt.Sprintf("forward[%d]: %s", i, remark))
			}
		}
	}
	return all
}
