package verdict

import (
	"fmt"
	"slices"
	"strings"
)

// Admin is what an operator wants of an endpoint. It wins over all the rest.
type Admin uint8

// The operator's words.
const (
	Enabled Admin = iota // "ready": the other facts decide
	Drain                // no new requests, only those that belong to it
	Maint                // nothing at all
)

// Discovery is what the list of endpoints says.
type Discovery uint8

// The states of an endpoint in the list.
const (
	Present  Discovery = iota
	Draining           // it is about to leave: only what belongs to it
	Missing            // gone from a registry that is known to be sick: used as long as its checks don't find it down, and for some time
	Absent             // gone
)

// Own is what an endpoint says of itself, by its agent.
type Own uint8

// What an endpoint may wish. That it is down is in Active.
const (
	OwnNothing Own = iota
	OwnDrain
	OwnMaint
)

// Active is what checks found.
type Active uint8

// The states of a check. The fact of an endpoint is that of its worst check.
const (
	Unknown Active = iota // not asked yet, or nobody asks: may be used
	Up
	Falling // was up, failed since, but not often enough to be down: may be used
	Rising  // was down, passed since, but not often enough to be up
	Down
)

// Passive is what requests found.
type Passive uint8

// The states of outlier detection.
const (
	Fine Passive = iota
	Ejected
	Probing // after an ejection: one request, until it has told
)

// names of the states, as in JSON.
var (
	adminNames     = [...]string{"ready", "drain", "maint"}
	discoveryNames = [...]string{"present", "draining", "missing", "absent"}
	ownNames       = [...]string{"nothing", "drain", "maint"}
	activeNames    = [...]string{"unknown", "up", "falling", "rising", "down"}
	passiveNames   = [...]string{"ok", "ejected", "probing"}
)

func (a Admin) String() string     { return name(adminNames[:], uint8(a)) }
func (d Discovery) String() string { return name(discoveryNames[:], uint8(d)) }
func (o Own) String() string       { return name(ownNames[:], uint8(o)) }
func (a Active) String() string    { return name(activeNames[:], uint8(a)) }
func (p Passive) String() string   { return name(passiveNames[:], uint8(p)) }

// ParseAdmin reads an operator's word: ready, drain or maint.
func ParseAdmin(s string) (Admin, error) {
	i, err := parse("admin state", adminNames[:], s)
	return Admin(i), err
}

// ParseActive reads the state of a check.
func ParseActive(s string) (Active, error) {
	i, err := parse("state of a check", activeNames[:], s)
	return Active(i), err
}

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%d", i)
}

func parse(what string, names []string, s string) (uint8, error) {
	if i := slices.Index(names, s); i >= 0 {
		return uint8(i), nil
	}
	return 0, fmt.Errorf("%s %.40q: write one of %s", what, s, strings.Join(names, ", "))
}

// worse ranks the states of several checks: what forbids requests before what
// does not, and what was found before what is not known.
func (a Active) worse(than Active) bool {
	rank := [...]int{Up: 0, Unknown: 1, Falling: 2, Rising: 3, Down: 4}
	return rank[a] > rank[than]
}
