"""Held-out phrasings, written by hand apart from the training grammar, which excludes each of them."""

H = {
    "calculate": [
        "Would you mind adding this up: {e}?", "I keep getting {e} wrong. What comes out?", "What do you make of {e}, numerically?", "Punch {e} into the calculator and report back.",
        "{e}, what does that come out as?", "My kid is stuck on {e} - what's the solution?", "Crunch {e} for me real quick", "I'm curious what {e} works out to", "need the number for {e} asap",
        "Kindly let me have the outcome of {e}.", "Evaluate this expression, will you: {e}", "is there a quick way to see {e}? give me the figure", "Settle a bet: {e} is equal to what?", "How large is {e}, exactly?", "On a calculator, {e} shows what?",
        "Let me double check {e} with you", "What's the outcome when you have {e}?", "for the invoice i have to know {e}", "Just the figure, please: {e}", "So what would {e} amount to?",
    ],
    "time": [
        "Could I get the time from you?", "I lost my watch, what time might it be?", "What's today?", "Any idea what the date is at the moment?", "Do we have Tuesday or Wednesday today?", "How late has it gotten?", "Please consult the clock and report the hour.",
        "I need a timestamp for right now", "Is it past noon already?", "Remind me, which day of the week are we on?", "What's the calendar say today?", "mind telling me the hour?", "what time have you got", "Which year is it currently?", "Tell me the present date and time.",
        "What does your watch show?", "today's weekday please?", "Give the current UTC time.", "My laptop clock is broken; what's the actual time?", "Has it turned midnight yet?",
    ],
    "read": [
        "I'd love to know the wording of {f}.", "Run through {f} for me, word by word.", "What have we got written down in {f}?", "Could you pull up {f} so I can see it?", "Whatever is stored in {f}, I want to see it", "Mind opening {f} and telling me what's inside?", "Go read {f} and report what it says.",
        "what message is in {f}", "I forgot what {f} says, could you look?", "Tell me everything that {f} contains.", "Please share the text found in {f}", "Let's see what {f} has to say.", "Spit out {f}", "Could I see the full text of {f}?", "I wonder what somebody wrote in {f}",
    ],
    "ask_file": [
        "I need to know the {k}; it should be in {f}.", "Somewhere in {f} there's the {k}. What is it?", "Going by {f}, what would the {k} be?", "Would you dig the {k} out of {f}?", "Consult {f} for the {k}", "Please look up in {f} what the {k} is set to", "{f} holds a {k}, please tell me which",
        "What did we put as {k} in {f}?", "How is the {k} given in {f}?", "The {k} is recorded in {f}. Tell me.", "Can you see from {f} what the {k} is?", "Pull the {k} out of {f} for me", "what's listed as the {k} inside {f}?", "From reading {f}, what's the {k}?", "My colleague says {f} has the {k}. Which is it?",
    ],
    "write_quoted": [
        "Would you save the phrase {c} under {f}?", "Make me a {f} that holds {c}", "I'd like {f} to read {c}.", "Drop {c} into {f}", "Store the sentence {c} in a file called {f}", "Get {c} written into {f} for me.", "Produce a text file {f} whose content is {c}", "Let's have {c} in {f}", "In a new file {f}, put {c}", "Start a file {f} with just {c} in it",
    ],
    "write_plain": [
        "Set up a file {f} that reads: {c}", "Please file this under {f}: {c}", "Make me a text file {f} saying {c}", "New file {f}, content: {c}", "Could you put the following into {f}: {c}", "I need this stored in {f}: {c}", "Start {f} with this text: {c}", "Text for {f}: {c}",
    ],
    "list_root": [
        "What have I got in here?", "Give me an overview of the files.", "Could you enumerate the files in the folder?", "which documents are lying around here", "Let me know what files I have mounted.", "Do a directory listing please", "What stuff is stored in this folder?", "I'd like to see everything that's in the directory", "Can I get a file list?", "Name all files in the working folder", "What's sitting in my folder?", "Show the directory listing", "tell me about the files around here", "How does the folder look, which files?", "Let me see a list of what is in this directory.",
    ],
    "list_named": [
        "What have I got in {d}?", "Please enumerate the files of the folder {d}.", "Which documents live in {d}?", "Could you peek inside the directory {d} and name the files?", "What's stored under {d}?", "I'd like an overview of the {d} folder", "Let me know which files {d} holds", "What is lying around in the {d} directory?", "Do a listing of {d} please", "what can be found inside {d}",
    ],
    "search": [
        "Which of my notes bring up {q}?", "I wrote about {q} somewhere, in which file?", "Hunt for {q} across the files.", "Any trace of {q} in the folder?", "Track down the files where {q} shows up", "Tell me which documents refer to {q}", "Have I ever written {q} anywhere in these files?", "Please check whether {q} turns up in any file", "I need every file that speaks of {q}", "Look up which file includes the word {q}", "Go through the folder and find {q}", "Whereabouts in the files is {q}?",
    ],
    "search_ask": [
        "One file speaks of {q}. Look it up and tell me its {k}.", "I need the {k}. It's in whatever file mentions {q}.", "Locate {q} in my files, then read that file and let me know the {k}.", "Hunt down the file on {q} and say what {k} it lists.", "Somewhere I have notes on {q}; open them and tell me the {k}.", "Go find the document on {q} and tell me which {k} is in it.", "Search out {q} and report the {k} from that file.", "which file talks about {q}? tell me the {k} from it", "Dig up the note mentioning {q} and give me its {k}", "Can you find the file with {q} and look up the {k} there?",
    ],
    "search_read": [
        "Hunt down the file that talks about {q} and read it out.", "One of the notes mentions {q}; show me all of it.", "Locate whichever file has {q} and open it for me.", "I'd like to read the document that mentions {q}.", "Dig up the file about {q} and tell me what's written there.",
    ],
    "remember": [
        "Here's something to hold on to: {t}", "Please commit to memory that {t}", "Put this in your memory, please: {t}", "I'd appreciate it if you remembered that {t}", "Would you keep a note that {t}?", "Let it be known that {t}, and remember it", "So you don't lose it: {t}. Store that.", "Mental note: {t}", "Do remember that {t}", "Hang on to this for me: {t}", "File this away: {t}", "It is important that you remember that {t}",
    ],
    "compute_remember": [
        "Get me {e} and hold on to the result.", "Do the maths on {e} and commit the answer to memory", "Once you've got {e}, store the outcome in memory.", "I want {e} computed, and I want you to remember what comes out.", "Work {e} out and keep a note of the answer.", "Evaluate {e}; memorise what you get", "Would you calculate {e} and then remember the figure?", "Run the numbers on {e} and make a mental note of the result", "What does {e} come to? Keep it in mind.", "Calculate {e} and retain the answer in memory.",
    ],
    "compute_remember_as": [
        "Get me {e} and hold on to the result as {l}.", "Do the maths on {e} and commit it to memory as {l}", "Evaluate {e}; memorise it as {l}", "Would you calculate {e} and then file it in memory as {l}?", "Once you've got {e}, store it as {l}.",
    ],
    "compute_write": [
        "Get me {e} and drop the result into {f}.", "Do the maths on {e} and leave the answer in {f}", "Once you've got {e}, store the outcome in {f}.", "I want {e} computed and the figure saved to {f}.", "Evaluate {e}; the answer goes into {f}", "Would you calculate {e} and then put the figure in {f}?", "Run the numbers on {e} and save what comes out to {f}", "What does {e} come to? Save that in {f}.", "Work {e} out and file the answer under {f}", "Make {f} hold the outcome of {e}.",
    ],
    "read_times": ["Take whatever number {f} holds and multiply it by {n}.", "Grab the figure in {f} and have it multiplied by {n}", "There's a number in {f}; what is it times {n}?", "Look at {f} and multiply what you find there by {n}"],
    "read_plus": ["Take whatever number {f} holds and add {n}.", "There's a number in {f}; what is it plus {n}?", "Look at {f} and add {n} to what you find there", "Grab the figure in {f} and add {n} on top"],
    "read_minus": ["Take whatever number {f} holds and subtract {n}.", "There's a number in {f}; what is it minus {n}?", "Look at {f} and take {n} away from what you find there", "Grab the figure in {f} and deduct {n}"],
    "read_over": ["Take whatever number {f} holds and divide it by {n}.", "There's a number in {f}; what is it divided by {n}?", "Look at {f} and divide what you find there by {n}"],
    "read_double": ["Look at {f} and double what you find there", "There's a number in {f}; what's twice that?", "Give me double the figure stored in {f}"],
    "who": ["Tell me who I have the pleasure of talking with.", "What exactly are you?", "Could you introduce yourself?", "so who might you be", "Are you some kind of AI?", "I'd like to know who you are.", "What should I call you?", "Hey, what sort of thing are you?"],
    "can": ["What sort of things can I have you do?", "How could you be of use to me?", "What are you capable of?", "Which tasks can you handle?", "I'm new here, what can you help with?", "Please explain what you can do.", "What all can you do?"],
    "hello": ["Hello, how do you do?", "Good evening to you", "Hi, pleased to meet you", "hey hey", "Hello hello"],
    "thanks": ["Thank you kindly", "Thanks a million", "That's great, thank you very much"],
    "bye": ["Bye for now", "See you around", "Goodbye then"],
    "beyond": [
        "Could you make up a poem on the topic of autumn leaves?", "Please write a short story involving a lighthouse keeper.", "I'd like to hear a good joke", "Will there be rain in Lisbon tomorrow?", "What's the weather going to be like this weekend?", "How would a Frenchman say good evening?", "Put this into Italian: where is the station", "Who came first in the 1998 football championship?", "What city is the capital of Mongolia?", "My knee hurts when I run, what could that be?",
        "Which pills should I take against a migraine?", "Please write a quicksort in Haskell.", "Can you program a to-do app in JavaScript?", "Explain to me how vaccines work", "Why do volcanoes erupt?", "Who painted the Mona Lisa?", "How many legs does a spider have?", "Please book a train to Vienna for Friday.", "Order some flowers for my wife", "Dim the lights in the living room", "zxcvb qpwoe fjfjf", "lkjh gfds mnbv", "Should I put my savings into shares?", "Give me the latest headlines", "What would be a nice dish for tonight?", "Suggest a good novel for my holiday", "Draw me a horse on a hill", "What is the tallest building on earth?", "Which football team is going to win on Sunday?", "Rewrite my application letter so that it sounds better", "How does one get rid of hiccups?", "Who was the first woman in space?", "What's a good name for a puppy?", "Compose a tune for piano", "When did the Roman empire collapse?", "Do an impression of a pirate",
    ],
    "recall_what_my": ["Can you recall what my {s} is?", "What's my {s} once more?", "Help me out, what is my {s}?", "I told you my {s} the other day. What is it?", "Would you still know my {s}?", "It slipped my mind: what is my {s}?", "Refresh my memory, what's my {s}?"],
    "recall_what_the": ["Can you recall what the {s} is?", "What's the {s} once more?", "Help me out, what is the {s}?", "I told you the {s} the other day. What is it?", "Would you still know the {s}?", "It slipped my mind: what is the {s}?", "Refresh my memory, what's the {s}?"],
    "recall_what_name": ["Can you recall what {s} is?", "What's {s} once more?", "I told you {s} the other day. What is it?", "It slipped my mind: what is {s}?", "Refresh my memory, what's {s}?"],
    "recall_where": ["Any idea where I put my {s}?", "Where might the {s} be?", "I need the {s}. Where is it kept?", "Where on earth is my {s}?"],
    "recall_when": ["Can you recall when the {s} is?", "When exactly is the {s}?", "It slipped my mind: when is the {s}?", "Refresh my memory, when's the {s}?"],
    "error_divide": ["Would you mind dividing {a} by 0?", "What do you get from {a}/0, pray?", "I'm curious what {a} / 0 works out to", "Kindly let me have the outcome of {a} / 0.", "My kid is stuck on {a} / 0 - what's the solution?"],
}
