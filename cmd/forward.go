package cmd

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"viaduct/config"
)

func forwardCommand(errOut io.Writer) *cli.Command {
	var options []*option
	var flags []cli.Flag
	for _, f := range config.Flags() {
		o := newOption(f)
		options, flags = append(options, o), append(flags, o)
	}
	return &cli.Command{
		Name:      "forward",
		Usage:     "run a forward proxy from flags alone",
		UsageText: "viaduct forward [flags]",
		Description: "Each flag has a twin in the environment, which it wins over. A flag that may be\n" +
			"repeated takes a list with commas, too. SIGHUP opens the access log anew.",
		Flags:  flags,
		Before: noArguments,
		Action: func(c *cli.Context) error {
			given := map[string]config.Given{}
			for _, o := range options {
				o.collect(given)
			}
			return serve(c, errOut, "", func() (*config.Config, error) { return config.FromFlags(given) })
		},
	}
}

// option is a flag of the command line. What it was given is kept as it stands,
// and read by config, so that a mistake reads the same wherever it was made.
type option struct {
	*cli.GenericFlag
	about config.Flag
	value *value
}

func newOption(f config.Flag) *option {
	v := &value{isBool: f.Word == ""}
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
	switch all := o.value.all; {
	case o.HasBeenSet && len(all) == 1:
		given[o.Name] = config.Given{Values: all, Env: true}
	case o.HasBeenSet:
		given[o.Name] = config.Given{Values: all[1:]}
	case len(all) > 0:
		given[o.Name] = config.Given{Values: all}
	}
}

// value keeps the words that a flag was given.
type value struct {
	all    []string
	isBool bool
}

// Set is called by the library with each word.
func (v *value) Set(word string) error {
	v.all = append(v.all, word)
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
