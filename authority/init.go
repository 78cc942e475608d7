package authority

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// InitOptions say what a new authority is like.
type InitOptions struct {
	Name string // what clients call it; "" is "viaduct inspection CA" and a few random letters
	Days int    // how long it lasts, up to MostDays; 0 is DefaultDays
}

// How long an authority lasts.
const (
	DefaultDays = 3650
	MostDays    = 36500
)

// Init makes an authority in a folder, which need not exist: CertFile, which
// everybody may read, and KeyFile, which only its owner may; so a folder that it
// makes is open to all. It leaves alone what is there. The error is a *fs.PathError if the system refuses; any other one is
// about what was asked for.
func Init(dir string, o InitOptions) (*x509.Certificate, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	key, cert := filepath.Join(dir, KeyFile), filepath.Join(dir, CertFile)
	for _, path := range []string{key, cert} {
		if _, err := os.Lstat(path); err == nil {
			return nil, taken(path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	made, keyText, err := o.create(time.Now())
	if err != nil {
		return nil, err
	}
	if err := folder(dir); err != nil {
		return nil, err
	}
	if err := write(key, keyText, 0o600); err != nil {
		return nil, err
	}
	if err := write(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Raw}), 0o644); err != nil {
		_ = os.Remove(key) // it is of this call, and of no use alone
		return nil, err
	}
	if at, err := os.Open(dir); err == nil { // so that both are there after a power cut; not every folder can
		_ = at.Sync()
		at.Close()
	}
	return made, nil
}

// folder makes a folder, unless it is there, which everybody may look into
// whatever the umask is.
func folder(dir string) error {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		return os.Chmod(dir, 0o755)
	}
	if info, wrong := os.Stat(dir); wrong == nil && info.IsDir() {
		return nil
	}
	return err
}

func taken(path string) error {
	return fmt.Errorf("%s is there already, and clients may trust it: take another folder, or move it away first", path)
}

func (o *InitOptions) check() error {
	switch {
	case !utf8.ValidString(o.Name) || strings.ContainsFunc(o.Name, isUnseen):
		return fmt.Errorf("the name %q is not text: leave out what cannot be seen", o.Name)
	case utf8.RuneCountInString(o.Name) > maxCommonName:
		return fmt.Errorf("the name is too long: a certificate has room for %d letters", maxCommonName)
	case o.Days < 0 || o.Days > MostDays:
		return fmt.Errorf("%d days: give from 1 to %d", o.Days, MostDays)
	}
	return nil
}

func isUnseen(r rune) bool { return !unicode.IsPrint(r) }

// create makes an authority: its certificate, and its key as PEM.
func (o *InitOptions) create(now time.Time) (*x509.Certificate, []byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	name, days := o.Name, o.Days
	if name == "" { // two with one name are told apart by nobody who looks at a list of them
		name = "viaduct inspection CA " + rand.Text()[:6]
	}
	if days == 0 {
		days = DefaultDays
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour), // the clock of a client may be slow
		NotAfter:              now.UTC().AddDate(0, 0, days),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it makes no further authorities
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key) // with a random serial number
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// write makes a file, which must not exist, and which is never open to more than
// its mode says. Half of it is taken away again.
func write(path string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // since it was looked for
		return taken(path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = os.Remove(path)
		}
	}()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
