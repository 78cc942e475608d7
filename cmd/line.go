package cmd

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"viaduct/config"
)

// line is a command line, its flags apart from its words.
type line struct {
	flags []string // with their values
	names []string // of the flags, with the dashes that they were given
	words []string
	short string // the flag at the end, if it wants a value and has none
}

// arrange lets flags stand anywhere: before the command, behind it, and behind
// its arguments. The library wants them between the command and its arguments.
func arrange(args []string, commands []*cli.Command) ([]string, error) {
	l := split(args[1:], commands)
	if len(l.words) == 0 {
		return append(args[:1:1], l.flags...), l.check(commands)
	}
	out := []string{args[0], l.words[0]}
	if l.words[0] == "help" || l.words[0] == "h" { // takes none, and may be asked about a line that is half written
		return append(out, l.words[1:]...), nil
	}
	out = append(out, l.flags...)
	if !slices.ContainsFunc(l.names, asksForHelp) { // which the library would look for among the arguments
		out = append(out, l.words[1:]...)
	}
	return out, l.check(commands)
}

// split tells flags and their values from words, by what any command knows.
func split(args []string, commands []*cli.Command) (l line) {
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			l.words = append(l.words, args[i:]...)
			break
		}
		if len(args[i]) < 2 || args[i][0] != '-' {
			l.words = append(l.words, args[i])
			continue
		}
		name, _, joined := strings.Cut(args[i], "=")
		l.flags, l.names = append(l.flags, args[i]), append(l.names, name)
		if joined || !takesValue(commands, bare(name)) {
			continue
		}
		if i++; i < len(args) {
			l.flags = append(l.flags, args[i])
		} else {
			l.short = name
		}
	}
	return l
}

// bare is the name of a flag without its dashes, of which there are two at most.
func bare(flag string) string { return strings.TrimPrefix(strings.TrimPrefix(flag, "-"), "-") }

func asksForHelp(flag string) bool { return slices.Contains(cli.HelpFlag.Names(), bare(flag)) }

func takesValue(commands []*cli.Command, name string) bool {
	for _, c := range commands {
		for _, f := range c.Flags {
			if v, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
				return v.TakesValue()
			}
		}
	}
	return false
}

// check looks for flags that the command of the line does not have, for one
// without its value, which would take a word for it, and for a second file.
func (l line) check(commands []*cli.Command) error {
	of, files := l.command(commands), 0
	for _, flag := range l.names {
		name := bare(flag)
		if !hasFlag(of, name) && !asksForHelp(flag) {
			return unknownFlag(commands, of, flag)
		}
		if name == "config" || name == "c" {
			files++
		}
	}
	if l.short != "" {
		return usageError(l.short + " needs a value")
	}
	if files > 1 {
		return usageError("-c is given twice: viaduct reads one file")
	}
	return nil
}

// command is the first one among the words. With none no flag but that for help
// has a place.
func (l line) command(commands []*cli.Command) *cli.Command {
	for _, word := range l.words {
		for _, c := range commands {
			if c.Name == word {
				return c
			}
		}
	}
	return &cli.Command{}
}

// unknownFlag is about a flag that a command does not have: one of another
// command, or a slip.
func unknownFlag(commands []*cli.Command, c *cli.Command, flag string) error {
	name := bare(flag)
	dashes := strings.TrimSuffix(flag, name)
	var owners, known []string
	for _, o := range commands {
		if hasFlag(o, name) {
			owners = append(owners, "viaduct "+o.Name)
		}
		if o == c || c.Name == "" {
			known = append(known, longFlags(o)...)
		}
	}
	text := "unknown flag " + flag
	switch best := config.Nearest(name, append(known, "help")); {
	case name == "version":
		text += ": write viaduct version"
	case c.Name == "forward" && (name == "c" || name == "config"):
		text += ": forward reads no file: write viaduct run -c FILE"
	case slices.Contains(owners, "viaduct forward") && hasFlag(c, "config"):
		text += ": " + c.Name + " takes its options from the file, and nothing from the environment"
	case owners != nil:
		text += ": it belongs to " + strings.Join(owners, " and ")
	case best != "":
		text += ": did you mean " + dashes + best + "?"
	}
	return usageError(text)
}

func hasFlag(c *cli.Command, name string) bool {
	return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return f != cli.HelpFlag && slices.Contains(f.Names(), name) })
}

// longFlags are the flags of a command that are words.
func longFlags(c *cli.Command) []string {
	var names []string
	for _, f := range c.Flags {
		names = append(names, f.Names()...)
	}
	return slices.DeleteFunc(names, func(name string) bool { return len(name) < 2 })
}
