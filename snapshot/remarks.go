package snapshot

import "fmt"

// Remarks are what is taken as it stands, and may not be what the operator wanted:
// lines that say nothing, names that nobody has, rules that only rehearse.
func (s *Snapshot) Remarks() []string {
	var all []string
	for i, e := range s.Entries {
		for _, remark := range e.Policy.Remarks() {
			all = append(all, fmt.Sprintf("forward[%d]: %s", i, remark))
		}
	}
	return all
}
