"""What the sandbox's model may answer, by what the customer wants and in which language."""

from typing import Literal

Language = Literal["ar", "fr", "en"]

REPLIES: dict[str, dict[Language, tuple[str, ...]]] = {
    "greeting": {
        "ar": (
            "هلا بيك عيوني، شلونك؟ شنو اللي عاجبك حتى أساعدك؟",
            "هلا والله، نورتنا! تأمرني بشنو؟",
            "وعليكم السلام ورحمة الله، هلا بيك. شلون أگدر أخدمك هسه؟",
        ),
        "fr": (
            "Bonjour et bienvenue ! Qu'est-ce qui vous ferait plaisir ?",
            "Bonjour ! Dites-moi ce que vous cherchez, je vous aide tout de suite.",
        ),
        "en": (
            "Hello and welcome! What can I help you find today?",
            "Hi there! Tell me what caught your eye and I'll help you.",
        ),
    },
    "price": {
        "ar": (
            "تدلل! السعر يختلف حسب الموديل والقياس، دزلي صورة القطعة أو اسمها وأگلك شكد سعرها هسه.",
            "على راسي، أي قطعة تقصد؟ دزلي صورتها حتى أنطيك سعرها المضبوط.",
        ),
        "fr": (
            "Avec plaisir ! Le prix dépend du modèle et de la taille : lequel vous intéresse ?",
            "Envoyez-moi la photo ou le nom de l'article et je vous donne son prix exact.",
        ),
        "en": (
            "Happy to help! The price depends on the model and the size. Which one do you like?",
            "Send me a photo or the name of the piece and I'll get you its exact price.",
        ),
    },
    "availability": {
        "ar": (
            "هسه أشوفلك ياها، يا لون ويا قياس تريد؟",
            "إن شاء الله أكو، بس گلي اللون والقياس حتى أتأكدلك.",
        ),
        "fr": (
            "Je vérifie tout de suite en réserve et je vous confirme dans la conversation.",
            "Je regarde si nous l'avons encore et je reviens vers vous ici même.",
        ),
        "en": (
            "Let me check that for you, I'll confirm right here.",
            "I'll look in the stock room right away and tell you here.",
        ),
    },
    "delivery": {
        "ar": (
            "إي نعم نوصل لكل المحافظات، دزلي عنوانك وأگلك شوكت يوصلك وشكد أجرة التوصيل.",
            "أكو توصيل لباب البيت. دزلي عنوانك وأحسبلك التوصيل والوقت.",
        ),
        "fr": (
            "Oui, nous livrons partout ! Laissez-moi votre adresse et je vous donne le délai et les frais.",
            "La livraison est possible. Envoyez-moi votre adresse et je vous précise le délai.",
        ),
        "en": (
            "Yes, we deliver there! Send me your address and I'll tell you the time and the fee.",
            "Delivery is no problem. Send me your address and I'll check the time for you.",
        ),
    },
    "order_status": {
        "ar": (
            "حاضر، دزلي رقم الطلب أو رقم الموبايل اللي طلبت بيه وأشوفلك وين وصل هسه.",
            "على عيني، شنو رقم الطلب؟ هسه أتابعه وياك.",
        ),
        "fr": (
            "Bien sûr, donnez-moi votre numéro de commande et je regarde où elle en est.",
            "Je m'en occupe : quel est le numéro de la commande ou le téléphone utilisé ?",
        ),
        "en": (
            "Of course. Send me your order number and I'll see where it is.",
            "Let me look into it. What is the order number, or the phone it was placed with?",
        ),
    },
    "size": {
        "ar": (
            "عدنا قياسات متعددة، گلي طولك ووزنك وأختارلك القياس اللي يناسبك.",
            "شنو قياسك المعتاد؟ حتى أگلك يا نمرة أحسن إلك.",
        ),
        "fr": (
            "Quelle taille portez-vous d'habitude ? Je vous dirai laquelle choisir dans ce modèle.",
            "Donnez-moi votre taille habituelle et je vous conseille.",
        ),
        "en": (
            "What size do you usually wear? I'll tell you which one fits in this model.",
            "Tell me your usual size and I'll find the right one for you.",
        ),
    },
    "payment": {
        "ar": (
            "الدفع سهل وأكو أكثر من طريقة، شلون يريحك تدفع؟",
            "تگدر تدفع بالطريقة اللي تناسبك، گلي شنو تفضل وأشرحلك.",
        ),
        "fr": (
            "Il y a plusieurs façons de payer. Laquelle vous arrange ?",
            "Dites-moi comment vous préférez payer et je vous explique.",
        ),
        "en": (
            "There are a few ways to pay. Which one suits you best?",
            "Tell me how you'd like to pay and I'll walk you through it.",
        ),
    },
    "discount": {
        "ar": (
            "تستاهل كل خير! گلي يا قطعة عاجبتك وأشوفلك إذا عليها عرض هسه.",
            "هسه أسألك إذا أكو خصم عليها، يا موديل تقصد؟",
        ),
        "fr": (
            "Je regarde si une offre est en cours : quel article vous plaît ?",
            "Dites-moi quel article vous intéresse et je vérifie les offres du moment.",
        ),
        "en": (
            "Let me check the current offers. Which piece do you like?",
            "Which item are you after? I'll see if there's an offer on it.",
        ),
    },
    "location": {
        "ar": (
            "يا هلا بيك بالمحل! گلي أنت من وين حتى أدلك على أقرب مكان إلك وأوقات الدوام.",
            "نتشرف بزيارتك، يا منطقة قريبة عليك؟",
        ),
        "fr": (
            "Ce serait un plaisir de vous recevoir ! De quel quartier venez-vous ?",
            "Dites-moi où vous êtes et je vous indique l'adresse et les horaires.",
        ),
        "en": (
            "We'd love to see you! Which part of town are you in?",
            "Tell me where you are and I'll send you the address and the opening hours.",
        ),
    },
    "order": {
        "ar": (
            "تدلل عيوني! أحتاج اسمك ورقم موبايلك والعنوان حتى أثبتلك الطلب.",
            "صار! دزلي الاسم ورقم الموبايل والمنطقة وأجهزلك ياه.",
        ),
        "fr": (
            "Avec plaisir ! Il me faut votre nom, votre téléphone et votre adresse pour la commande.",
            "C'est noté. Envoyez-moi votre nom, un numéro et l'adresse, et je prépare tout.",
        ),
        "en": (
            "Lovely choice! I need your name, phone and address to place the order.",
            "Great! Send me your name, a phone number and the address and I'll prepare it.",
        ),
    },
    "contact": {
        "ar": (
            "تسلم، وصلت معلوماتك. راح نتصل بيك بأقرب وقت إن شاء الله.",
            "تمام عيوني، سجلتها عندي ونتواصل وياك.",
        ),
        "fr": (
            "Merci, c'est bien noté. Nous vous contactons très vite.",
            "Parfait, j'ai vos coordonnées. On revient vers vous rapidement.",
        ),
        "en": (
            "Thank you, I've noted it. We'll get in touch very soon.",
            "Perfect, I have your details. Someone will contact you shortly.",
        ),
    },
    "complaint": {
        "ar": (
            "حقك علينا وآسفين هواية. دزلي رقم الطلب وراح أحول الموضوع للمسؤول هسه.",
            "نعتذر منك من كل گلبنا، هاي مو عادتنا. هسه أبلغ المسؤول ويتواصل وياك.",
        ),
        "fr": (
            "Je suis vraiment désolé. Donnez-moi le numéro de commande, je transmets tout de suite.",
            "Toutes nos excuses. Je préviens un responsable, il vous répond au plus vite.",
        ),
        "en": (
            "I'm very sorry about that. Send me the order number and I'll pass it on right away.",
            "Please accept our apologies. I'm telling a colleague now, who will get back to you.",
        ),
    },
    "return": {
        "ar": (
            "ولا يهمك، دزلي رقم الطلب وصورة القطعة وأشوفلك شلون نبدلها.",
            "حاضر، گلي شنو المشكلة بيها حتى نرتب الاستبدال.",
        ),
        "fr": (
            "Pas de souci. Envoyez-moi le numéro de commande et une photo, je regarde pour l'échange.",
            "Bien sûr, dites-moi ce qui ne va pas et je vois comment organiser le retour.",
        ),
        "en": (
            "No problem. Send me the order number and a photo and I'll see about the exchange.",
            "Of course. Tell me what's wrong with it and I'll look into the return.",
        ),
    },
    "human": {
        "ar": ("حاضر، هسه أحولك على زميلي ويجاوبك بنفسه.", "على راسي، راح يحچي وياك واحد من الفريق."),
        "fr": (
            "Bien sûr, je vous mets en relation avec un collègue.",
            "Entendu, quelqu'un de l'équipe prend le relais.",
        ),
        "en": (
            "Of course, I'm handing you over to a colleague.",
            "Sure, someone from the team will take over from here.",
        ),
    },
    "media": {
        "ar": (
            "وصلت الصورة، حلوة! تريد سعرها لو تتأكد إذا متوفرة؟",
            "شفتها، ذوقك يخبل! شنو تحب تعرف عنها؟",
        ),
        "fr": (
            "Bien reçu ! Voulez-vous son prix ou savoir si elle est disponible ?",
            "Je l'ai vue, très bon goût ! Que souhaitez-vous savoir ?",
        ),
        "en": (
            "Got it! Would you like its price, or to know if it's available?",
            "I've seen it, lovely taste! What would you like to know about it?",
        ),
    },
    "thanks": {
        "ar": ("تدلل عيوني، بالخدمة أي وقت.", "الله يسلمك، نورتنا."),
        "fr": ("Avec grand plaisir !", "Je vous en prie, à très vite !"),
        "en": ("You're very welcome!", "My pleasure, any time."),
    },
    "praise": {
        "ar": ("تسلم على ذوقك، فرحتنا بكلامك!", "عيونك الحلوة، شكراً من القلب!"),
        "fr": ("Merci, ça nous touche beaucoup !", "Merci infiniment, vous êtes adorable !"),
        "en": ("Thank you, that means a lot to us!", "So glad you like it, thank you!"),
    },
    "other": {
        "ar": (
            "فهمت عليك، بس وضحلي أكثر حتى أگدر أساعدك.",
            "على راسي، گلي شنو تحتاج بالضبط وأجاوبك هسه.",
        ),
        "fr": (
            "Je veux être sûr de bien comprendre : pouvez-vous m'en dire un peu plus ?",
            "Bien sûr, pouvez-vous préciser ce que vous cherchez ?",
        ),
        "en": (
            "I want to get this right. Could you tell me a little more?",
            "Sure, what exactly are you looking for?",
        ),
    },
}
