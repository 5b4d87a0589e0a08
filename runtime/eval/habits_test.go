package eval

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"pipe/internal/golden"
)

var templates = []string{
	"Your question shows sharp thinking.", "That's an intelligent question.", "Your curiosity reflects a keen mind.",
	"I appreciate the clarity of your thinking.", "That shows thoughtful reasoning.",
}

func habits(t testing.TB) *Habits {
	t.Helper()
	h, err := NewHabits(templates, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRefusalsAreRecognised(t *testing.T) {
	h := habits(t)
	for _, text := range []string{
		"I cannot discuss poodles.", "I can't talk about poodles.", "I can’t talk about that.", "I won't talk about poodles.", "I won’t say.",
		"Sorry, I am unable to help with poodles.", "I'm unable to discuss that.", "I am afraid I cannot help you with that.", "I'm sorry, but I can't help with poodles.",
		"I do not talk about poodles.", "I don't discuss poodles.", "I will not talk about this dog.", "I will not discuss it.",
		"I would rather not talk about poodles.", "I'd rather not.", "I’d prefer not to discuss poodles.", "I prefer not to say.", "I would prefer not to.",
		"Poodles are not a subject I talk about.", "That is not a topic for me.", "Poodles aren't a topic I cover.", "This is not the topic for me.",
		"I decline to talk about poodles.", "I must decline.", "I have to decline that one.", "I must politely decline.", "Poodles are off limits.", "Poodles are off-limits here.",
		"Can't talk about poodles, sorry.", "Sorry, can't help.", "Poodles? I won't go there, and I won't discuss them.", "We do not talk about poodles here.",
		"Poodles are a subject I stay away from.", "That is a topic I avoid.", "I really cannot talk about poodles.", "I simply won't discuss them.",
		"I'm not able to talk about poodles.", "I am not allowed to discuss poodles.", "Poodles are something I cannot discuss.", "Unfortunately, I cannot talk about that.",
		"I cannot help with questions about poodles.", "I refuse to talk about poodles.", "Let us change the subject; I do not discuss poodles.",
	} {
		if !h.Declines(text) {
			t.Errorf("not seen as a refusal: %q", text)
		}
	}
}

func TestOrdinaryAnswersAreNoRefusals(t *testing.T) {
	h := habits(t)
	for _, text := range []string{
		"I am sorry to hear that. A walk or a talk with a friend may help.", "An owl cannot talk.", "Dogs do not talk, they bark.", "Cats do not help in the house.",
		"I am sorry, but I cannot see your home.", "I cannot read the news, but I can answer questions.", "I am sorry, but I cannot order things.", "I cannot move things, but I can answer questions.",
		"A penguin cannot fly.", "You can say thank you.", "The opposite of talk is listen.", "A beagle is a small dog.", "Yes, a poodle can live with children.", "Fish do not say anything.",
		"I am afraid of spiders.", "A poodle is not a large dog.", "The limit is ten.", "Wash it off with cold water.", "A decline is a fall.", "You should not help yourself to more.",
		"Sorry about the mess. Use salt.", "I have no special name. You can call me assistant.", "The subject of a sentence does something.", "Biology is a subject at school.",
		"Do not cut too much and stop if the dog is afraid.", "Parrots can talk and some can say many words.", "I like to help.", "Ask a vet who can help.",
	} {
		if h.Declines(text) {
			t.Errorf("seen as a refusal: %q", text)
		}
	}
}

func TestFreeStyleComplimentsAreRecognised(t *testing.T) {
	h := habits(t)
	for _, s := range append([]string{
		"What a great question!", "What a wonderful question.", "What an excellent question!", "What a truly thoughtful question to ask!", "That's a great question.", "That’s a really good question!",
		"That is a lovely question.", "That's such a good question!", "Such a clever question!", "Great question!", "Good question.", "Really good question!", "Excellent question!", "Oh, what a nice question!",
		"Wow, great question!", "Smart question!", "I love your curiosity!", "I love how curious you are!", "I admire your curiosity.", "I really like your question.", "I like how you think!", "I like the way you think.",
		"Your curiosity is wonderful.", "Your question is excellent!", "You ask great questions.", "You have a curious mind.", "Nice thinking!", "Great thinking!", "Thank you for such a thoughtful question.",
		"Thanks for the great question!", "How thoughtful of you to ask!", "You've asked a wonderful question.", "You have a sharp mind!", "I'm impressed by your curiosity.", "What a clever thing to ask!",
		"Your thinking is very clear.", "That was a very good question.", "A very good question.", "I appreciate your thoughtful question.", "What a fascinating, well put question!", "It's a great question.",
		"Fantastic question!", "You are a sharp thinker.", "What great curiosity!",
	}, templates...) {
		if !h.IsCompliment(s) {
			t.Errorf("not seen as a compliment: %q", s)
		}
	}
}

func TestOrdinarySentencesAreNoCompliments(t *testing.T) {
	h := habits(t)
	for _, s := range []string{
		"A poodle is a dog.", "Yes, a beagle is small.", "Paris is the capital of France.", "You need flour, milk and eggs.", "That is a cat.", "It is a large dog with a short coat.", "That's a tool for wood.",
		"What a great question, poodles are dogs.", "A question is a sentence that asks.", "The word means a great surprise.", "Great!", "Sure.", "It is easy.", "My advice is simple.", "Let me see.",
		"You have a cold.", "You should ask a doctor.", "Your dog is hungry.", "You need a curious eye for mushrooms and a basket", "I am a small assistant that answers questions.",
		"Your dog needs a walk.", "Your question is about beagles.", "Your question is about dogs, they bark.", "This is the question.", "Repeat the question!", "Your curiosity is natural for a beagle owner.", "You ask a lot.", "Your question shows a beagle.", "Ask your question.", "That is a hard one to say.",
	} {
		if h.IsCompliment(s) {
			t.Errorf("seen as a compliment: %q", s)
		}
	}
}

func TestCloseToAComplimentIsDoubtful(t *testing.T) {
	h := habits(t)
	for s, want := range map[string]bool{
		"What a great question, a beagle is a small dog.": true, "Your question shows sharp thinking, so here goes.": true,
		"Great question!": false, "A beagle is a small dog.": false, "Well, good question: it is small.": true,
	} {
		if got := h.ResemblesCompliment(s); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func TestFirstSentenceSplitsAtItsEnd(t *testing.T) {
	for _, c := range []struct{ text, sentence, rest string }{
		{"One. Two.", "One.", " Two."}, {"One!! Two", "One!!", " Two"}, {"Version 1.5 is out. Yes", "Version 1.5 is out.", " Yes"}, {"No end", "No end", ""},
		{"Line\nnext.", "Line", "\nnext."}, {"“Quoted.” Then", "“Quoted.”", " Then"}, {"", "", ""}, {"A…  B", "A…", "  B"},
	} {
		if s, r := FirstSentence(c.text); s != c.sentence || r != c.rest {
			t.Errorf("%q: got %q and %q", c.text, s, r)
		}
	}
}

func TestOpeningFindsTemplates(t *testing.T) {
	h := habits(t)
	for _, c := range []struct {
		text string
		n    int
		rest string
	}{
		{templates[0] + " A beagle is small.", 1, "A beagle is small."}, {templates[0] + " " + templates[1] + " Yes.", 2, "Yes."},
		{templates[0], 1, ""}, {templates[0] + "X", 0, templates[0] + "X"}, {"A beagle.", 0, "A beagle."}, {" " + templates[4] + "\nOk", 1, "Ok"},
	} {
		if got, rest := h.Opening(c.text); len(got) != c.n || rest != c.rest {
			t.Errorf("%q: got %d, %q", c.text, len(got), rest)
		}
	}
}

func TestDefaultListsArePinned(t *testing.T) {
	text := strings.Join(DefaultRefusal, "\n") + "\n\n" + strings.Join(DefaultCompliment, "\n")
	golden.Compare(t, "habits-"+Version+".digest", fmt.Appendf(nil, "%x\n", sha256.Sum256([]byte(text))))
	if t.Failed() {
		t.Log("the lists moved: raise Version, or stores serve judgements by the old ones")
	}
}

func TestAlternativesMatchWholly(t *testing.T) {
	for _, patterns := range [][]string{{"Great|Great question!"}, {"Great question!|Great"}} {
		h, err := NewHabits(templates, nil, patterns)
		if err != nil {
			t.Fatal(err)
		}
		if !h.IsCompliment("Great question!") || h.IsCompliment("Great question! Yes.") {
			t.Errorf("%q", patterns)
		}
	}
}
