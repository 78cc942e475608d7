package auth

import (
	"net/netip"

	"github.com/tg123/go-htpasswd"
)

// What bounds are set, for tests that go there.
const (
	Longest       = longest
	Capacity      = sets * ways
	MostFlights   = mostFlights
	MostSuspected = mostSuspected
	MostOfClient  = mostOfClient
	Patience      = patience
	MostAsked     = mostAsked
)

// counted tells of each hash.
type counted struct {
	htpasswd.EncodedPasswd
	tell func()
}

func (c counted) MatchesPassword(password string) bool {
	c.tell()
	return c.EncodedPasswd.MatchesPassword(password)
}

// CountHashes has f told whose hash a password is compared with.
func (u *Users) CountHashes(f func(user string)) {
	for _, who := range u.all {
		who.hash = counted{who.hash, func() { f(who.id.User) }}
	}
}

// ReadField is what a field says, as far as Admit reads it by itself.
func ReadField(field []byte) (user, password string, err error) {
	token, err := basic(field)
	switch {
	case err != nil:
		return "", "", err
	case len(token) > longest:
		return "", "", ErrWrong
	}
	return decode(token)
}

// Flights is how many flights are open to others, and how many clients have any.
func (g *Gate) Flights() (flights, waiters, clients int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flights {
		waiters += f.waiters
	}
	return len(g.flights), waiters, len(g.flying)
}

// Kept is how many credentials are remembered.
func (m *Memory) Kept() (n int) {
	all := m.verified.Load()
	if all == nil {
		return 0
	}
	for i := range all {
		for j := range all[i] {
			if all[i][j].Load() != nil {
				n++
			}
		}
	}
	return n
}

// Fail counts a failure, and tells whether one was allowed.
func (m *Memory) Fail(client netip.Addr, user string) bool {
	ok, _ := m.failures.take(source(client), user, m.now())
	return ok
}

// Spent tells whether the client is throttled.
func (m *Memory) Spent(client netip.Addr, user string) bool {
	spent, _ := m.failures.look(source(client), user, m.now())
	return spent
}

// Hash makes a password ready, or says what is wrong with its hash.
func Hash(text string) (matches func(string) bool, wrong string) {
	hash, wrong := readHash(text)
	if wrong != "" {
		return nil, wrong
	}
	return hash.MatchesPassword, ""
}

// Place is SetPassword with a hash that is there.
func Place(file []byte, user, hash string) ([]byte, error) { return place(file, user, hash) }
