package eval

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Version names the default lists below and the rules that use them. It is part of
// the version of every stage kind that judges by them; a test pins their digest.
const Version = "1"

// DefaultRefusal lists the regular expressions (RE2) that a refusal matches
// somewhere. They look for the speaker: "I cannot talk about owls" declines, "an
// owl cannot talk" does not.
var DefaultRefusal = []string{
	// cannot, can't, won't, unable to + discuss, talk, say, help
	speaker + `(?:cannot|can not|can['’]?t|won['’]t|will not|could not|couldn['’]t|(?:am |are |['’]m |['’]re )?(?:unable to|not able to|not allowed to|not going to|not permitted to|not here to))` + adverbs + speaking,
	// do not, will not + talk, discuss
	speaker + `(?:do not|don['’]t|never)` + adverbs + `(?:discuss|talk|speak|chat|comment|say (?:anything|much|more)|answer|cover)\b`,
	`(?i)\b(?:I|we)(?:['’]d| would| should)?(?: \w+)? (?:rather|prefer)(?: to)? not\b`,
	`(?i)(?:^|[.!?,;:–—-]\s*)(?:would )?(?:rather|prefer) not\b`,
	`(?i)(?:\bnot|n['’]t)(?: really| exactly| quite)? (?:an?|the|my|our|among the|one of (?:my|the|our)|any|something of a)(?: \w+)? (?:subject|topic|theme)s?\b`,
	`(?i)\b(?:subject|topic|theme)s?(?: that| which)? (?:I|we)(?:['’]ll| will| must| have to| always| simply| just)* (?:avoid|decline|skip|leave|stay away|steer clear|keep (?:away|out|off)|pass|refuse|do not|don['’]t|cannot|can['’]t|will not|won['’]t|am not|never)\b`,
	`(?i)\b(?:I|we)(?:['’]ll|['’]d)?(?: \w+){0,3} (?:decline|refuse)\b`,
	`(?i)(?:^|[.!?]\s*)(?:respectfully |politely |kindly )?(?:declin(?:e|ed|ing)|must decline|have to decline)\b`,
	`(?i)\boff[\s-]limits\b`,
}

const (
	// speaker is who declines: I or we, or nobody, at the beginning of a clause.
	speaker  = `(?i)(?:\b(?:I|we|assistant|bot|program|and|but|so|sorry|afraid|simply|just|that|which|really|still|also)[ ,]+|\b(?:I|we)(?:['’]m|['’]re| am| are)[ ,]+|(?:^|[.!?,;:–—-]\s*))(?:(?:really|simply|just|still|unfortunately|also) )*`
	adverbs  = ` (?:\w+ly |really |just |even |ever |be |you |of |much |to )*`
	speaking = `(?:discuss(?:ing)?|talk(?:ing)?|say(?:ing)?|speak(?:ing)?|chat(?:ting)?|comment(?:ing)?|help(?:ing)?|answer(?:ing)?|cover(?:ing)?|go into|get into|share anything|tell you (?:anything|much|more|about)|offer anything)\b`
)

// DefaultCompliment lists the regular expressions (RE2) that a free-style compliment
// matches wholly: one sentence, with its full stop.
var DefaultCompliment = []string{
	// what a / that's a / such a + adjective + question
	interjection + `(?:what (?:an? )?|that(?:['’]s| is|['’]s such| was)(?: such| truly| really| quite| indeed)? an? |this is(?: such| truly| really| quite)? an? |it(?:['’]s| is)(?: such| truly| really| quite)? an? |such an? |now that(?:['’]s| is) an? |you(?:['’]ve| have)? (?:just )?(?:asked?|raised?|got|have) (?:an? |such an? |some |me an? )(?:really |very |truly )?)` + adjectives + praised + tail,
	// adjective + "question!"
	interjection + praising + `questions?` + tail,
	interjection + `(?:what )?` + praising + `(?:thinking|curiosity|inquiry|enquiry|reasoning)` + tail,
	// praise of the question, of how the asker thinks, of the asker's curiosity
	interjection + `(?:I|we)(?: (?:really|truly|do|must say I|must say,? I|have to say I|so|just|always|very much))* (?:love|like|admire|appreciate|enjoy|adore|respect|value|applaud|commend|cherish|am impressed by|am delighted by|am a fan of)(?: very much| so much)? ` + possession + `(?: very much| a lot| so much)?[.!]+$`,
	interjection + `(?:I['’]m|we['’]re)(?: (?:really|truly|so|very))* (?:impressed|delighted|charmed|struck|amazed|touched)(?: by| with) ` + possession + `[.!]+$`,
	interjection + possession + ` (?:is|are|was)(?: \w+ly| very| so| such an?| an?| quite)* ` + praise + `(?:,? (?:and )?` + praise + `)*(?: one| question| thing)?(?: indeed| today| to see)?[.!]+$`,
	interjection + possession + ` (?:does you credit|impress(?:es)? me|delights? me|makes? me (?:smile|happy|think)|makes? (?:my|this) (?:day|chat) (?:\w+)|sparkles?|shines?(?: through)?|stands? out|deserves? (?:praise|applause|a (?:\w+ )?answer))[.!]+$`,
	interjection + possession + ` (?:shows?|reflects?|reveals?|speaks? of|displays?|demonstrates?|comes? from|suggests?|proves?|tells? of)(?: me)?(?: that you have)?(?: an?| the| your| real| true| much| great| such| some| how| of| lot)* ?(?:[\p{L}'’-]+ ){0,3}(?:mind|thinking|thinker|curiosity|thought|insight|intelligence|care|depth|wisdom|reasoning|attention|interest|imagination|clarity|you think)[.!]+$`,
	interjection + `(?:thank you|thanks)(?: so much| very much| a lot)? for (?:asking )?(?:such )?(?:an? |the |that |this |your )` + adjectives + praised + tail,
	interjection + `how (?:very |really |truly )?` + praise + ` (?:of you to (?:ask|think|wonder)(?: (?:that|this|it|about (?:that|this|it)))?|your (?:question|thinking|curiosity|mind) is)[.!]+$`,
	interjection + `you(?:['’]re| are)(?: (?:clearly|obviously|certainly|really|truly|an?|such|so|very|wonderfully|delightfully|quite))* (?:` + praise + ` )?(?:thinker|mind|curious|thoughtful|clever|bright|perceptive|observant|inquisitive|sharp)(?: person| one| to ask| for asking)?[.!]+$`,
	interjection + `you(?: (?:clearly|obviously|certainly|really|truly|always|do))* (?:have|show|bring|ask|asked)(?: (?:such|an?|the|some|me|very|really))* ` + praise + `(?:,? (?:and )?` + praise + `)* (?:mind|curiosity|eye|questions?|thinking|reasoning|thoughts?|way of (?:thinking|asking)|things?)(?: indeed)?[.!]+$`,
	interjection + `you (?:think|ask|reason|wonder)(?: (?:so|very|really))* (?:clearly|carefully|deeply|well|sharply|cleverly|wisely)[.!]+$`,
}

const (
	interjection = `(?i)^(?:(?:oh|ah|wow|well|hey|hi|hello|goodness|my|ooh|aha|why|yes|okay|ok|now|haha|gosh|brilliant|lovely|great|nice)[,!.]* )*`
	adjectives   = `(?:[\p{L}'’-]+,? (?:and )?){1,4}`
	// praising is one praising adjective or more, with adverbs, for where any other
	// word would make an ordinary sentence: "Great question!", not "Ask your question."
	praising   = `(?:an? |one |such an? )?(?:(?:really|very|truly|quite|such|so|absolutely|rather|pretty|most|\w+ly) )*` + praise + `,? (?:(?:and )?` + praise + `,? ){0,2}`
	praise     = `(?:admirable|amazing|ambitious|astute|awesome|beautiful|best|bold|bright|brilliant|captivating|careful|charming|clear|clear-headed|clever|compelling|considered|cool|crisp|curious|deep|delightful|discerning|elegant|engaging|enlightened|excellent|exceptional|exciting|extraordinary|fabulous|fair|fantastic|fascinating|fine|first-class|first-rate|fresh|fun|genius|genuine|gorgeous|good|grand|great|helpful|imaginative|important|impressive|incisive|incredible|informed|ingenious|inquiring|inquisitive|insightful|inspired|inspiring|intelligent|interesting|intriguing|inventive|keen|kind|lively|logical|lovely|magnificent|marvell?ous|masterful|meaningful|neat|nice|nifty|observant|original|outstanding|penetrating|perceptive|perfect|phenomenal|pleasant|pointed|praiseworthy|probing|profound|rational|refreshing|relevant|remarkable|sensible|sharp|shrewd|smart|solid|sound|spectacular|splendid|stellar|stimulating|stunning|sublime|super|superb|sweet|terrific|thorough|thoughtful|thought-provoking|top|top-notch|touching|tremendous|valid|valuable|well-considered|well-phrased|well-posed|well-put|well-thought-out|wise|witty|wonderful|wondrous|worthwhile|worthy)`
	praised    = `(?:questions?|thing to (?:ask|wonder(?: about)?)|thought|point|inquiry|enquiry|way (?:to ask|of thinking|of asking))`
	tail       = `(?:,? (?:to ask|to raise|you(?:['’]ve| have)? (?:ask(?:ed)?|raise[d]?|got|have|there|pose[d]?)(?: there| me| here)?|there|indeed|my friend|from you|of yours|today|and well (?:put|asked)|well (?:put|asked)|I must say))?[.!]+$`
	possession = `(?:(?:the |that |this |such )?(?:[\p{L}'’-]+ )?(?:of )?(?:your|such) (?:[\p{L}'’-]+,? (?:and )?){0,3}(?:questions?|thinking|curiosity|mind|inquiry|enquiry|reasoning|interest|thoughtfulness|thoughts?|way of (?:thinking|asking)|line of thought)|how (?:curious|thoughtful|clearly|carefully|deeply|well|sharply|cleverly|precisely)?,? ?(?:you|your mind) (?:are|think|thinks?|ask|asked|phrased? (?:that|it|this)|put (?:that|it|this)|reason|wonder|works?|approach(?:ed)? (?:that|it|this))|that question|the question|the way you (?:think|ask|asked|put (?:that|it|this)|phrased? (?:that|it|this)|reason))`
)

// Habits tells refusals and compliments from ordinary text. It may be used from
// several goroutines.
type Habits struct {
	Templates  []string
	stems      []string // of the templates: lower case, without the last stop
	refusal    *matcher
	compliment *matcher
}

// NewHabits compiles the expressions. nil lists are the default ones. The error
// names the expression.
func NewHabits(templates, refusal, compliment []string) (*Habits, error) {
	h := &Habits{Templates: templates}
	for _, t := range templates {
		h.stems = append(h.stems, strings.ToLower(strings.TrimRight(t, ".!?")))
	}
	if refusal == nil {
		refusal = DefaultRefusal
	}
	if compliment == nil {
		compliment = DefaultCompliment
	}
	var err error
	if h.refusal, err = compile(refusal); err == nil {
		h.compliment, err = compile(wholly(compliment))
	}
	return h, err
}

// wholly makes expressions match a whole text or nothing: an alternative that
// matches its beginning must not keep a later one from matching all of it.
func wholly(list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = "^(?:" + text + ")$"
	}
	return out
}

func compile(list []string) (*matcher, error) {
	out := make([]*regexp.Regexp, len(list))
	for i, text := range list {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", text, err)
		}
		out[i] = re
	}
	return newMatcher(out), nil
}

// Declines says whether a text is a refusal.
func (h *Habits) Declines(text string) bool { return h.refusal.matches(text) }

// IsCompliment says whether a sentence is, wholly, a free-style compliment or a
// template.
func (h *Habits) IsCompliment(sentence string) bool {
	sentence = strings.TrimSpace(sentence)
	for _, t := range h.Templates {
		if sentence == t {
			return true
		}
	}
	return h.compliment.matches(sentence)
}

// ResemblesCompliment says whether a sentence contains a compliment without being
// one: "What a fine question, and poodles are dogs."
func (h *Habits) ResemblesCompliment(sentence string) bool {
	if h.IsCompliment(sentence) {
		return false
	}
	lower := strings.ToLower(sentence)
	for _, stem := range h.stems {
		if strings.Contains(lower, stem) {
			return true
		}
	}
	// Each clause is looked at as if it were a sentence of its own.
	for _, clause := range strings.FieldsFunc(sentence, func(r rune) bool { return strings.ContainsRune(",;:–—", r) }) {
		clause = strings.TrimRight(strings.TrimSpace(clause), ".!?")
		if clause != "" && h.IsCompliment(clause+".") {
			return true
		}
	}
	return false
}

// Opening returns the templates that a text opens with, one after the other, and
// what follows them.
func (h *Habits) Opening(text string) (templates []string, rest string) {
	rest = strings.TrimLeftFunc(text, unicode.IsSpace)
next:
	for {
		for _, t := range h.Templates {
			after, ok := strings.CutPrefix(rest, t)
			if ok && (after == "" || unicode.IsSpace([]rune(after)[0])) {
				templates = append(templates, t)
				rest = strings.TrimLeftFunc(after, unicode.IsSpace)
				continue next
			}
		}
		return templates, rest
	}
}

// CountTemplates returns how often any template occurs in a text.
func (h *Habits) CountTemplates(text string) int {
	n := 0
	for _, t := range h.Templates {
		n += strings.Count(text, t)
	}
	return n
}

// FirstSentence splits a text behind its first sentence: at the first full stop,
// exclamation or question mark (or run of them, with closing quotes) that is
// followed by white space, or at a line feed. rest keeps the white space.
func FirstSentence(text string) (sentence, rest string) {
	if !utf8.ValidString(text) {
		text = string([]rune(text))
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == '\n' {
			return text[:i], text[i:]
		}
		i += size
		if !strings.ContainsRune(".!?…", r) {
			continue
		}
		next := '\n'
		for ; i < len(text); i += size {
			if next, size = utf8.DecodeRuneInString(text[i:]); !strings.ContainsRune(".!?…\"'”’)", next) {
				break
			}
		}
		if i == len(text) || unicode.IsSpace(next) {
			return text[:i], text[i:]
		}
	}
	return text, ""
}
