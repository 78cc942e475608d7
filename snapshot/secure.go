package snapshot

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"viaduct/authority"
	"viaduct/config"
	"viaduct/door"
	"viaduct/files"
	"viaduct/pem"
)

// part is what an entry has of files with certificates.
type part[T any] struct {
	value T
	key   string   // differs where what is in the files does; "" is of none
	paths []string // the files
	dates []date   // of the certificates in them
	notes []string // remarks
}

// secured is all that an entry has of such files.
type secured struct {
	tls       part[*door.TLS]            // what https:// listeners show; nil without any
	authority part[*authority.Authority] // nil where no tunnel is opened
	roots     part[*x509.CertPool]       // of origins where tunnels are opened; nil is the system's
}

// secured reads what an entry has of files with certificates. All that is wrong
// with them is told.
func (b *builder) secured(c *config.Forward, before *secured) (*secured, []error) {
	s, errs := &secured{}, [3]error{}
	s.tls, errs[0] = settled(b, "tls", before.tls, func(p *part[*door.TLS]) error { return b.tls(c, p) })
	s.authority, errs[1] = settled(b, "ca", before.authority, func(p *part[*authority.Authority]) error { return b.authority(c, p) })
	s.roots, errs[2] = settled(b, "origin_ca", before.roots, func(p *part[*x509.CertPool]) error { return b.roots(c, p) })
	if a := s.authority; a.value != nil {
		b.next.authorities[a.key] = a.value
	}
	return s, slices.DeleteFunc(errs[:], func(err error) bool { return err == nil })
}

// settled is what fill fills. When files have changed, and what is in them now is
// no good, or has ended already, that is told and what was made before stays: a
// broken certificate must not keep a user in who was removed.
func settled[T any](b *builder, option string, before part[T], fill func(*part[T]) error) (part[T], error) {
	var made part[T]
	err := fill(&made)
	if err != nil {
		err = fmt.Errorf("%s: %w", option, err)
	}
	wrong := err
	if err == nil {
		wrong = lapsed(before.dates, made.dates)
	}
	if wrong != nil && before.key != "" && b.Files.Keep(wrong, made.paths...) {
		return before, nil
	}
	return made, err
}

// text is what stands in a file that the configuration names.
func (b *builder) text(path string) ([]byte, error) {
	return files.Load(b.Files, path, "text", func(text []byte) ([]byte, error) { return text, nil })
}

// texts are what stands in several, and a sum over all.
func (b *builder) texts(paths []string) (all map[string][]byte, sum string, err error) {
	all = map[string][]byte{}
	hash := sha256.New()
	for _, path := range paths {
		text, err := b.text(path)
		if err != nil {
			return nil, "", err
		}
		all[path] = text
		fmt.Fprintf(hash, "%q %d\n%s", path, len(text), text)
	}
	return all, fmt.Sprintf("%x", hash.Sum(nil)), nil
}

func (b *builder) tls(c *config.Forward, p *part[*door.TLS]) error {
	if len(c.TLS.Cert) == 0 {
		return nil
	}
	p.paths = slices.Concat(c.TLS.Cert, c.TLS.Key)
	if c.TLS.ClientCA != "" {
		p.paths = append(p.paths, c.TLS.ClientCA)
	}
	texts, sum, err := b.texts(p.paths)
	if err != nil {
		return err
	}
	var pairs []tls.Certificate
	for i, path := range c.TLS.Cert {
		pair, err := pair(c, i, texts)
		if err != nil {
			return err
		}
		pairs = append(pairs, pair)
		p.dates = append(p.dates, date{"tls", path, []*x509.Certificate{pair.Leaf}, "no client takes it"})
	}
	keys := c.TLS.Key
	if len(keys) == 0 {
		keys = c.TLS.Cert
	}
	for _, path := range keys { // no more than a remark: containers mount what is theirs alone so
		if err := pem.Private(path); err != nil {
			p.notes = append(p.notes, "tls: "+err.Error())
		}
	}
	var clients *x509.CertPool
	if at := c.TLS.ClientCA; at != "" {
		if clients, err = p.authorities("tls: client_ca", at, texts[at], "nobody is let in by it"); err != nil {
			return fmt.Errorf("client_ca: %w", err)
		}
	}
	p.value, p.key = door.NewTLS(pairs, clients), sum
	return nil
}

// pair reads the i-th certificate with its key.
func pair(c *config.Forward, i int, texts map[string][]byte) (tls.Certificate, error) {
	at := c.TLS.Cert[i]
	var key []byte
	if len(c.TLS.Key) > 0 {
		key = texts[c.TLS.Key[i]]
		if key == nil { // an empty file is one, too
			key = []byte{}
		}
	}
	pair, err := door.ParsePair(texts[at], key)
	if err != nil {
		return pair, fmt.Errorf("%s: %w", at, err)
	}
	return pair, nil
}

// authorities reads a file of authorities, and when they end.
func (p *part[T]) authorities(option, path string, text []byte, fate string) (*x509.CertPool, error) {
	pool, err := door.ParseAuthorities(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	certs, err := pem.Certificates(text)
	p.dates = append(p.dates, date{option, path, certs, fate})
	return pool, err
}

// authority takes over the one with the same certificate and key, or makes it.
func (b *builder) authority(c *config.Forward, p *part[*authority.Authority]) error {
	if c.CA == "" {
		return nil
	}
	cert, key := filepath.Join(c.CA, authority.CertFile), filepath.Join(c.CA, authority.KeyFile)
	p.paths = []string{cert, key}
	texts, sum, err := b.texts(p.paths)
	if err == nil {
		err = pem.Private(key)
	}
	if err != nil {
		return noAuthority(c.CA, err)
	}
	p.key = sum
	p.value, err = takeOver(b.next.authorities, b.Prev.authorities, sum, func() (*authority.Authority, error) { return authority.Parse(texts[cert], texts[key]) })
	if err != nil {
		return fmt.Errorf("%s: %w", c.CA, err)
	}
	p.dates = []date{{"ca", cert, []*x509.Certificate{p.value.Own()}, "no tunnel can be opened with it"}}
	return nil
}

// noAuthority says what to do about a folder that is none, or holds nothing.
func noAuthority(dir string, err error) error {
	info, wrong := os.Stat(dir)
	if wrong == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: --ca takes the folder that %s and %s are in", dir, authority.CertFile, authority.KeyFile)
	}
	for _, file := range []string{authority.CertFile, authority.KeyFile} {
		if _, wrong := os.Lstat(filepath.Join(dir, file)); !errors.Is(wrong, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("there is no authority in %s: viaduct ca init %[1]s makes one", dir)
}

var errNoAuthorities = errors.New("the system's authorities cannot be read")

func (b *builder) roots(c *config.Forward, p *part[*x509.CertPool]) error {
	if c.OriginCA == "" {
		return nil
	}
	p.paths = []string{c.OriginCA}
	texts, sum, err := b.texts(p.paths)
	if err != nil {
		return err
	}
	text := texts[c.OriginCA]
	if _, err := p.authorities("origin_ca", c.OriginCA, text, "no origin is trusted by it"); err != nil {
		return err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoAuthorities, err)
	}
	roots.AppendCertsFromPEM(text)
	p.value, p.key = roots, sum
	return nil
}

// Minted is how many certificates were made for opened tunnels.
func (s *Snapshot) Minted() int {
	n := s.minted
	for _, a := range s.authorities {
		n += a.Stats().Minted
	}
	return n
}
