package parent

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"viaduct/fault"
	"viaduct/wire"
)

// direct is the way without a parent.
const direct = "direct"

// Bounds of what is written in options.
const (
	mostWeight = 1_000_000
	mostTier   = 100
	mostLimit  = 1_000_000
	mostName   = 200 // bytes of an id or a zone
)

// Endpoint is a way out as an operator writes it: a parent, two in a row, or none.
type Endpoint struct {
	ID     string  // what it is called, without credentials; never empty
	Hops   []Proxy // the first is dialled, each asks for the next; none: direct
	Weight uint32  // its share; 0 gets nothing new
	Zone   string
	Tier   int // 0 is used first
	Limit  int // requests at a time; 0 is unlimited
}

// What is wrong with an endpoint. Like those of Parse, they repeat nothing that
// may be part of a password.
var (
	errChain   = errors.New("a chain has two parent proxies at most: write http://first:3128 -> socks5://second:1080")
	errFirst   = errors.New("the options of a chain stand behind its last parent proxy")
	errDirect  = errors.New("direct leads through no parent proxy: it stands alone, with options at most, as direct?weight=1")
	errOption  = errors.New("an option is NAME=VALUE, with & before the next: ?weight=3&zone=a; write %26 for a & in a value and %25 for a percent sign")
	errWeight  = fmt.Errorf("weight is a whole number from 0 to %d", mostWeight)
	errTier    = fmt.Errorf("tier is a whole number from 0 to %d: 0 is used first", mostTier)
	errLimit   = fmt.Errorf("max is a whole number from 0 to %d: requests at a time, 0 is unlimited", mostLimit)
	errBackup  = errors.New("backup is true or false")
	errBoth    = errors.New("backup=true is tier 1: write backup or tier, not both")
	errName    = fmt.Errorf("an id or a zone is a word of at most %d bytes, without spaces", mostName)
	errNoWay   = errors.New("an id is the endpoint's own: direct is the way without a parent proxy")
	errUnknown = errors.New("the options of an endpoint are " + strings.Join(options, ", "))
)

var options = []string{"weight", "zone", "backup", "tier", "max", "id"}

// ParseEndpoint reads an endpoint: a URL as Parse takes it, two of them with ->
// between, or direct; then perhaps ?weight=3&zone=a&backup=true&tier=1&max=100&id=NAME.
func ParseEndpoint(text string) (Endpoint, error) {
	// No sign of a URL has to be searched for in a password: there, > and ? and @
	// stand for themselves only as %3E and %3F and %40.
	hops := strings.Split(text, "->")
	if len(hops) > 2 {
		return Endpoint{}, errChain
	}
	e := Endpoint{Weight: 1}
	last, query, optional := strings.Cut(hops[len(hops)-1], "?")
	if strings.ContainsAny(query, "@#") {
		return Endpoint{}, errMore
	}
	hops[len(hops)-1] = last
	if err := e.lead(hops); err != nil {
		return Endpoint{}, err
	}
	e.ID = e.path()
	if optional {
		if err := e.options(strings.TrimSpace(query)); err != nil {
			return Endpoint{}, err
		}
	}
	return e, nil
}

// lead reads where the endpoint leads through.
func (e *Endpoint) lead(hops []string) error {
	for i, text := range hops {
		text = strings.TrimSpace(text)
		switch {
		case text == direct && len(hops) == 1:
			return nil
		case text == direct, strings.HasPrefix(text, direct+":"), strings.HasPrefix(text, direct+"/"):
			return errDirect
		case text == "" && len(hops) > 1:
			return errChain
		case i+1 < len(hops) && optionsAt(text):
			return errFirst
		}
		p, err := Parse(text)
		if err != nil {
			return err
		}
		e.Hops = append(e.Hops, p)
	}
	return nil
}

// optionsAt tells whether a parent has options behind it.
func optionsAt(text string) bool {
	_, options, some := strings.Cut(text, "?")
	return some && !strings.Contains(options, "@") // else it is in a password
}

// path is the endpoint without options and credentials.
func (e *Endpoint) path() string {
	if len(e.Hops) == 0 {
		return direct
	}
	var names []string
	for _, p := range e.Hops {
		names = append(names, p.String())
	}
	return strings.Join(names, " -> ")
}

func (e *Endpoint) options(query string) error {
	var seen []string
	for option := range strings.SplitSeq(query, "&") {
		name, value, ok := strings.Cut(option, "=")
		value, err := url.QueryUnescape(value)
		switch {
		case !ok || err != nil:
			return errOption
		case slices.Contains(seen, name):
			return fmt.Errorf("the option %s stands there twice", name) // it is one of ours
		}
		if err := e.option(name, value); err != nil {
			return err
		}
		seen = append(seen, name)
	}
	if slices.Contains(seen, "backup") && slices.Contains(seen, "tier") {
		return errBoth
	}
	return nil
}

func (e *Endpoint) option(name, value string) error {
	number, err := strconv.ParseUint(value, 10, 31)
	whole := err == nil
	switch name {
	case "weight":
		e.Weight = uint32(number)
		return unless(whole && number <= mostWeight, errWeight)
	case "tier":
		e.Tier = int(number)
		return unless(whole && number <= mostTier, errTier)
	case "max":
		e.Limit = int(number)
		return unless(whole && number <= mostLimit, errLimit)
	case "backup":
		if value == "true" {
			e.Tier = 1
		}
		return unless(value == "true" || value == "false", errBackup)
	case "zone":
		e.Zone = value
		return unless(named(value), errName)
	case "id":
		if value == direct && len(e.Hops) > 0 {
			return errNoWay
		}
		e.ID = value
		return unless(named(value), errName)
	}
	return unknown(name)
}

func unless(good bool, bad error) error {
	if good {
		return nil
	}
	return bad
}

// named tells whether s can be shown in a line and typed in a command.
func named(s string) bool {
	return s != "" && len(s) <= mostName && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

// unknown says what an option was meant to be, if it is two slips of the hand
// from one of ours at most.
func unknown(name string) error {
	for most := 1; most <= 2 && len(name) <= 8; most++ {
		for _, known := range options {
			if slips(strings.ToLower(name), known) <= most {
				return fmt.Errorf("there is no option %q: did you mean %q?", name, known)
			}
		}
	}
	return errUnknown
}

// slips is how many letters are to be put in, left out, changed or swapped with
// the next to make b of a.
func slips(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	if a[0] == b[0] {
		return slips(a[1:], b[1:])
	}
	least := 1 + min(slips(a[1:], b), slips(a, b[1:]), slips(a[1:], b[1:]))
	if len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] {
		least = min(least, 1+slips(a[2:], b[2:]))
	}
	return least
}

// Hidden is the endpoint as ParseEndpoint reads it, in one spelling, with *** for
// each password.
func (e *Endpoint) Hidden() string {
	parts := []string{direct}
	for i, p := range e.Hops {
		parts = append(parts[:i], p.hidden())
	}
	var with []string
	add := func(differs bool, name, value string) {
		if differs {
			with = append(with, name+"="+url.QueryEscape(value))
		}
	}
	add(e.Weight != 1, "weight", strconv.FormatUint(uint64(e.Weight), 10))
	add(e.Zone != "", "zone", e.Zone)
	add(e.Tier != 0, "tier", strconv.Itoa(e.Tier))
	add(e.Limit != 0, "max", strconv.Itoa(e.Limit))
	add(e.ID != e.path(), "id", e.ID)
	text := strings.Join(parts, " -> ")
	if len(with) > 0 {
		text += "?" + strings.Join(with, "&")
	}
	return text
}

// hidden is the URL with a password that is none.
func (p Proxy) hidden() string {
	login := url.User(p.User).String()
	if p.Password != (Secret{}) {
		login += ":***"
	}
	if login != "" {
		login += "@"
	}
	return p.Scheme.String() + "://" + login + p.address()
}

// Refused is the error of a parent that answered a request with a refusal of its
// own, such as 407, judged as an answer to CONNECT is: by what it says in
// Proxy-Status, too.
func Refused(h *wire.Head) error {
	no := answered(h)
	return &fault.Error{Kind: no.kind, Code: no.code, Text: no.say, Err: fmt.Errorf("parent: %w", no)}
}
