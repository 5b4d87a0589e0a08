package pipeline

import (
	"slices"
	"strings"

	"pipe/internal/document"
	"pipe/internal/problem"
)

// ProfileJoin stands between the names of profiles that are laid over one another,
// each over those before it: "mistral-7b+quick".
const ProfileJoin = "+"

// checkStack finds what is wrong with a choice of profiles. names are those there are.
func (f *File) checkStack(choice string, names []string) error {
	var problems problem.List
	wrong := func(format string, args ...any) problem.Problem {
		return problem.At("--profile "+choice, 0, 0, format, args...)
	}
	parts := strings.Split(choice, ProfileJoin)
	for i, name := range parts {
		switch {
		case !slices.Contains(names, name):
			problems.Add(wrong("there is no profile %q", name).WithHint("%s", document.Suggest(name, names)))
		case slices.Contains(parts[:i], name):
			problems.Add(wrong("profile %q stands twice in %s", name, choice))
		case name == DefaultProfile && len(parts) > 1:
			problems.Add(wrong("profile %q is the file as it stands, and changes nothing: leave it out of %s", name, choice))
		}
	}
	return problems.Err()
}

// overlays are the changes of the profiles that a choice names, in their order.
func (f *File) overlays(choice string) []*document.Node {
	var list []*document.Node
	for name := range strings.SplitSeq(choice, ProfileJoin) {
		for _, p := range f.profiles {
			if p.Key == name {
				list = append(list, p.Value)
			}
		}
	}
	return list
}
