package auth

import (
	"crypto/x509"
	"slices"
	"strings"
)

const spiffe = "spiffe://"

// Certificate is whom a client certificate names, which must have been verified:
// a SPIFFE identity, else the first mail address or name of DNS, else the common
// name. Its organizational units are the groups. It is false for a certificate
// that names nobody, or in a way that means two things.
func Certificate(c *x509.Certificate) (*Identity, bool) {
	if c == nil {
		return nil, false
	}
	name, ok := subject(c)
	id := &Identity{User: name, Groups: sorted(slices.Clone(c.Subject.OrganizationalUnit))}
	for _, text := range append(id.Groups, name) {
		ok = ok && text != "" && isText(text)
	}
	if !ok {
		return nil, false
	}
	return id, true
}

// subject is the name in a certificate, and whether there is one. Only a URI may
// look like a SPIFFE identity.
func subject(c *x509.Certificate) (name string, ok bool) {
	var ids []string
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "spiffe") {
			ids = append(ids, u.String())
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], true
	case len(ids) > 1: // X509-SVID section 2: exactly one
		return "", false
	case len(c.EmailAddresses) > 0:
		name = c.EmailAddresses[0]
	case len(c.DNSNames) > 0:
		name = c.DNSNames[0]
	default:
		name = c.Subject.CommonName
	}
	return name, len(name) < len(spiffe) || !strings.EqualFold(name[:len(spiffe)], spiffe)
}
