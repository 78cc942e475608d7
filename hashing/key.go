package hashing

import (
	"errors"
	"fmt"
	"strings"
)

// Source is what a part of a key is taken from.
type Source uint8

// The sources of keys.
const (
	ClientIP Source = iota
	User
	Host
	Path
	URL
	Header // Part.Name says which
	Cookie // Part.Name says which
)

var sources = [...]string{"client_ip", "user", "host", "path", "url", "header", "cookie"}

// Part is one part of a key.
type Part struct {
	Source Source
	Name   string // of the header, in lower case, or of the cookie
}

func (p Part) String() string {
	if p.Name == "" {
		return sources[p.Source]
	}
	return sources[p.Source] + ":" + p.Name
}

// ParseKey reads what a key is made of: client_ip, user, host, path, url,
// header:NAME or cookie:NAME, several with commas between.
func ParseKey(s string) ([]Part, error) {
	var parts []Part
	for text := range strings.SplitSeq(s, ",") {
		p, err := parsePart(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", s, err)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func parsePart(text string) (Part, error) {
	source, name, named := strings.Cut(text, ":")
	for i, s := range sources {
		p := Part{Source: Source(i), Name: name}
		switch wants := p.Source == Header || p.Source == Cookie; {
		case source != s:
			continue
		case wants && strings.Trim(name, tokens) != "", wants && name == "":
			return Part{}, fmt.Errorf("write the name of the %s after a colon: %s:NAME", s, s)
		case !wants && named:
			return Part{}, fmt.Errorf("%s takes no name", s)
		}
		if p.Source == Header {
			p.Name = strings.ToLower(name)
		}
		return p, nil
	}
	if text == "" {
		return Part{}, errors.New("a part is empty")
	}
	return Part{}, fmt.Errorf("%q is none of %s, header:NAME, cookie:NAME", text, strings.Join(sources[:Header], ", "))
}

// tokens are the letters of names (RFC 9110 section 5.6.2).
const tokens = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
