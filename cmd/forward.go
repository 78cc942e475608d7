package cmd

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/config"
)

func forwardCommand(errOut io.Writer) *cli.Command {
	var options []*option
	var flags []cli.Flag
	words := new(int)
	for _, f := range config.Flags() {
		o := newOption(f, words)
		options, flags = append(options, o), append(flags, o)
	}
	return &cli.Command{
		Name:      "forward",
		Usage:     "run a forward proxy from flags alone",
		UsageText: "viaduct forward [flags]",
		Description: "Each flag has a twin in the environment, which it wins over. A flag that may be\n" +
			"repeated takes a list with commas, too. SIGHUP opens the access log anew.\n\n" +
			"A RULE is terms, field=value,value, with spaces between them, or all for everything:\n" +
			"   --deny host=@ads.txt --allow \"group=ci host=.github.com port=443\" --deny all\n" +
			"The first rule whose terms all hold decides, whichever of the two flags it came by.\n" +
			"In the environment rules stand apart by ; and only one of the two twins is set.\n" +
			"--inspect and --inspect-pass are a second such list: which tunnels are opened.\n\n" +
			"Filters, which change, answer or refuse what passes, are for a file: viaduct run.",
		Flags:  flags,
		Before: noArguments,
		Action: func(c *cli.Context) error {
			given := map[string]config.Given{}
			for _, o := range options {
				o.collect(given)
			}
			warnOfSlips(os.Environ(), errOut) //nolint:forbidigo // only names that begin with VIADUCT_ are looked at
			return serve(c, errOut, "", func() (*config.Config, error) { return config.FromFlags(given) })
		},
	}
}

// warnOfSlips tells of variables that are nearly, but not quite, those of a flag.
// Others that begin alike may be somebody else's: Kubernetes makes some of the name
// of a service.
func warnOfSlips(environ []string, errOut io.Writer) {
	const prefix = "VIADUCT_"
	var known []string
	for _, f := range config.Flags() {
		known = append(known, strings.TrimPrefix(f.Env(), prefix))
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		short, ours := strings.CutPrefix(name, prefix)
		if best := config.Nearest(short, known); ours && best != "" && best != short {
			fmt.Fprintf(errOut, "viaduct: warning: %q means nothing: did you mean %s?\n", name, prefix+best)
		}
	}
}

// option is a flag of the command line. What it was given is kept as it stands,
// and read by config, so that a mistake reads the same wherever it was made.
type option struct {
	*cli.GenericFlag
	about config.Flag
	value *value
}

// newOption makes the option of a flag. All options of a command count their words
// together.
func newOption(f config.Flag, words *int) *option {
	v := &value{isBool: f.Word == "", words: words}
	return &option{GenericFlag: &cli.GenericFlag{Name: f.Name, Value: v, EnvVars: []string{f.Env()}}, about: f, value: v}
}

// String is its line in the help.
func (o *option) String() string {
	f := o.about
	name, usage := "--"+f.Name, f.Usage
	if f.Word != "" {
		name += " " + f.Word
	}
	if f.Repeat {
		usage += "; repeat for more"
	}
	if f.Default != "" {
		usage += " (default: " + f.Default + ")"
	}
	return fmt.Sprintf("%s\t%s [$%s]", name, usage, f.Env())
}

// TakesValue tells whether a word follows it.
func (o *option) TakesValue() bool { return !o.value.isBool }

// collect adds what the flag was given, if it was: on the command line, or else
// in the environment, which the library reads first.
func (o *option) collect(given map[string]config.Given) {
	switch all, order := o.value.all, o.value.order; {
	case o.HasBeenSet && len(all) == 1:
		given[o.Name] = config.Given{Values: all, Env: true}
	case o.HasBeenSet:
		given[o.Name] = config.Given{Values: all[1:], Order: order[1:]}
	case len(all) > 0:
		given[o.Name] = config.Given{Values: all, Order: order}
	}
}

// value keeps the words that a flag was given.
type value struct {
	all    []string
	order  []int // of each among those of all flags
	words  *int  // how many there are so far
	isBool bool
}

// Set is called by the library with each word.
func (v *value) Set(word string) error {
	v.all, v.order = append(v.all, word), append(v.order, *v.words)
	*v.words++
	return nil
}

// String is the last word.
func (v *value) String() string {
	if v == nil || len(v.all) == 0 {
		return ""
	}
	return v.all[len(v.all)-1]
}

// IsBoolFlag tells package flag that no word has to follow.
func (v *value) IsBoolFlag() bool { return v.isBool }
