package cmd

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"viaduct/authority"
	"viaduct/config"
)

const caUsage = "write viaduct ca init DIR"

func caCommand() *cli.Command {
	return &cli.Command{
		Name:      "ca",
		Usage:     "make a certificate authority, to inspect TLS with",
		UsageText: "viaduct ca init DIR [--name TEXT] [--days N]",
		Description: "Makes " + authority.CertFile + ", which clients are to trust, and " + authority.KeyFile + " in DIR, which is made if it is\n" +
			"not there. Neither is ever overwritten. Whoever has the key can pretend to be any site\n" +
			"to those clients: keep it as you would keep their passwords.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "`TEXT` is what clients call the authority", DefaultText: "viaduct inspection CA, and six letters by chance"},
			&cli.StringFlag{Name: "days", Usage: "`N` is how many days it lasts", Value: strconv.Itoa(authority.DefaultDays), DefaultText: strconv.Itoa(authority.DefaultDays)},
		},
		HideHelpCommand: true,
		Action:          ca,
	}
}

func ca(c *cli.Context) error {
	dir, err := caFolder(c.Args().Slice())
	if err != nil {
		return err
	}
	days, err := strconv.Atoi(c.String("days"))
	if err != nil || days < 1 || days > authority.MostDays {
		return usageError(fmt.Sprintf("--days %s: give whole days, from 1 to %d", c.String("days"), authority.MostDays))
	}
	if c.IsSet("name") && c.String("name") == "" {
		return usageError("--name is empty: give what clients are to call the authority, or leave it out")
	}
	cert, err := authority.Init(dir, authority.InitOptions{Name: c.String("name"), Days: days})
	if _, system := errors.AsType[*fs.PathError](err); system {
		return err
	}
	if err != nil {
		return usageError(err.Error())
	}
	return tellAuthority(c.App.Writer, dir, cert)
}

// caFolder is the folder among the words of the command.
func caFolder(words []string) (string, error) {
	switch {
	case len(words) == 0:
		return "", usageError("ca does nothing by itself: " + caUsage)
	case words[0] != "init" && config.Nearest(words[0], []string{"init"}) != "":
		return "", usageError(fmt.Sprintf("unknown command %q: did you mean \"ca init\"?", "ca "+words[0]))
	case words[0] != "init":
		return "", usageError(fmt.Sprintf("unknown command %q: %s", "ca "+words[0], caUsage))
	case len(words) == 1 || words[1] == "":
		return "", usageError("which folder? " + caUsage)
	case len(words) > 2:
		return "", usageError(fmt.Sprintf("ca init takes one folder, but there is %q behind it: %s", words[2], caUsage))
	}
	return words[1], nil
}

// tellAuthority says what was made, and what is to be done with it.
func tellAuthority(w io.Writer, dir string, cert *x509.Certificate) error {
	file := quoted(filepath.Join(dir, authority.CertFile))
	_, err := fmt.Fprintf(w, `%s  the certificate of %q, for clients to trust
%s  its key: whoever has it can pretend to be any site to them
ends on  %s
SHA-256  %s

Where it is to be trusted:
  Debian, Ubuntu     cp %[1]s /usr/local/share/ca-certificates/viaduct.crt && update-ca-certificates
  Fedora, RHEL       cp %[1]s /etc/pki/ca-trust/source/anchors/viaduct.crt && update-ca-trust
  macOS              security add-trusted-cert -d -k /Library/Keychains/System.keychain %[1]s
  Windows            certutil -addstore Root %[1]s
  Firefox, Chromium  settings, certificates, authorities: import %[1]s
  curl               curl --cacert %[1]s -x http://127.0.0.1:3128 https://www.example.com/
Then inspect TLS, as a user who can read the key:
  viaduct forward --ca %[6]s --inspect host=.example.com
`, file, cert.Subject.CommonName, quoted(filepath.Join(dir, authority.KeyFile)), cert.NotAfter.UTC().Format(time.DateOnly), fingerprint(cert), quoted(dir))
	return err
}

// fingerprint is what people compare.
func fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}

// quoted is a path as a shell takes it.
func quoted(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@,%"
	if strings.Trim(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
