// Package tokenizer turns text into token ids and back with a SentencePiece BPE
// model, tokenizer.model: that of Mistral 7B (v0.1 to v0.3), Llama 2 and their
// kin. Its ids are those of SentencePiece itself, for any text.
//
// # Words
//
// A piece is an entry of the vocabulary; its id is its place. A normal piece is
// text that merging can lead to. A control piece, such as <s>, stands for
// something that is no text; encoding never gives one, whatever the text says. A
// user-defined piece is cut out of the text before anything else. A byte piece,
// <0x00> to <0xFF>, stands for one byte of a character that has no piece.
//
// A space in text is U+2581 (▁) in pieces. The dummy prefix is the ▁ that a model
// is trained to see before a text's first word.
//
// # Encoding
//
// Text is normalised: a byte that is not UTF-8 becomes U+FFFD, the dummy prefix
// is added, spaces become ▁. Then it is cut into characters, and the
// neighbouring pair whose union is the piece of the highest score is merged, the
// leftmost of equals, until no pair is left. A character that then has no piece
// becomes its bytes.
//
// No piece of these models has a ▁ behind another character, so merging never
// crosses the beginning of a word, and words are encoded each for itself and
// remembered. (Where a model has such pieces, the text is encoded whole.)
//
// Source: github.com/google/sentencepiece, bpe_model.cc and
// sentencepiece_processor.cc, by behaviour.
package tokenizer
